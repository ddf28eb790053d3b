"""`outlast demo`: an agent's real work, watched by two viewers and a page, while a hand keeps breaking things.

Reading order: stage, then what is on it: agent (with tools, past and report), viewer (with notebook), hand (with plan
and line); then tally and proof, which judge; screen shows it all, and page does so in the browser (its files, in page/,
are built from clients/web/demo). part and child are the two ends of the pipe between the stage and the processes on it.
"""
