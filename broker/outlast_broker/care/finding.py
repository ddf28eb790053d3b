"""What an examination finds: said to people, so each says what is, why it matters, and what to do."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """The higher, the worse. A note is worth knowing, a warning will hurt some time, an error hurts now."""

    OK = 0
    NOTE = 1
    WARNING = 2
    ERROR = 3


class Finding(NamedTuple):
    """`about` is a word or two, `do` a command or a sentence; `code` is the exit code that an error asks for."""

    level: Level
    about: str
    what: str
    why: str = ""
    do: str = ""
    code: int = 0


def ok(about: str, what: str) -> Finding:
    return Finding(Level.OK, about, what)


def note(about: str, what: str, why: str, do: str) -> Finding:
    return Finding(Level.NOTE, about, what, why, do)


def warning(about: str, what: str, why: str, do: str) -> Finding:
    return Finding(Level.WARNING, about, what, why, do)


def error(about: str, what: str, why: str, do: str, code: int) -> Finding:
    return Finding(Level.ERROR, about, what, why, do, code)
