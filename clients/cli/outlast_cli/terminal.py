"""What differs between a terminal and a pipe: colours, columns, and letters that a terminal would obey."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click


def is_terminal(stream: TextIO | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def has_colours(stream: TextIO | None = None) -> bool:
    """See no-color.org: NO_COLOR with any value but an empty one forbids them."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """`text` in a colour where standard output can show it."""
    return click.style(text, fg=colour, bold=bold or None, dim=dim or None) if has_colours() else text


def visible(text: str) -> str:
    """Control characters written out: what others published must not steer this terminal."""
    return text if text.isprintable() else "".join(map(_visible_letter, text))


def _visible_letter(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of aligned columns; those in `right` are numbers."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        fitted = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(fitted).rstrip()

    return [paint(line(head), dim=True), *map(line, rows)]
