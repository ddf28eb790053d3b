"""From a field of Config to a flag, a variable, a line of a file and a row of a page; and what a reload changes.

Reading order: option, kinds, options, settings, soundness; template; reloading.
"""
