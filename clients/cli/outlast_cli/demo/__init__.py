"""`outlast demo`: an agent's real work, watched by two viewers, while a hand keeps breaking things.

Reading order: stage, then what is on it: agent (with tools), viewer (with notebook), hand (with plan and
line); then tally and proof, which judge; screen shows it all. part and child are the two ends of the pipe
between the stage and the processes on it.
"""
