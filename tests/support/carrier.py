"""Run as a file: DESCRIPTORS NAMES COMMAND ... becomes COMMAND, with those sockets where systemd puts them."""

from __future__ import annotations

import fcntl
import os
import sys

FIRST_DESCRIPTOR = 3
# Further up than anything that is open.
ASIDE = 100


def carry(descriptors: str, names: str, *command: str) -> None:
    aside = [fcntl.fcntl(int(number), fcntl.F_DUPFD, ASIDE) for number in descriptors.split(",")]
    for index, number in enumerate(aside):
        os.dup2(number, FIRST_DESCRIPTOR + index)
    passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(aside)), "LISTEN_FDNAMES": names}
    os.execve(command[0], command, os.environ | passed)


if __name__ == "__main__":
    carry(*sys.argv[1:])
