"""`outlast bench`: how fast a running broker is here, measured as a user of the Python client has it.

Reading order: plan (what may be decided), scenarios (what is measured) and a file each; then site and lane,
the ground they stand on, metronome, and figures, which is pure and says what came out. verb is the command.
"""
