"""What the exit code says, once for `--help`, the README and the code."""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    RESYNC = 4
    DAMAGED = 65
    UNAVAILABLE = 69
    IN_USE = 73
    STORE_FAILED = 74
    CONFIG = 78
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.REFUSED: "the broker refused it, output failed, or a proof did",
    Exit.USAGE: "the command line is wrong",
    Exit.UNREACHABLE: "no broker answers at that address",
    Exit.RESYNC: "records were skipped, and --fail-on-resync was given",
    Exit.DAMAGED: "the data folder, or a backup of it, is damaged or of another version",
    Exit.UNAVAILABLE: "cannot listen, or open the data folder or the backup",
    Exit.IN_USE: "another broker has the data folder",
    Exit.STORE_FAILED: "writing to the disk failed",
    Exit.CONFIG: "serve: the configuration is wrong",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.PIPE_CLOSED: "the reader of standard output has left",
}


class Failure(click.ClickException):
    """Shown as one line on stderr; ends the program with `code`."""

    def __init__(self, message: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"outlast: {self.message}", file=file, err=file is None)


def exit_table() -> str:
    """For the end of `outlast --help`; click keeps the lines of a paragraph that begins with \\b."""
    return "\n".join(["\b", "Exit codes:", *(f"  {code:>3}  {text}" for code, text in MEANINGS.items())])
