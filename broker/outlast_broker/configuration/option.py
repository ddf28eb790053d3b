"""How a field of the configuration says what an operator has to know of it.

    fold_after_ms: int = option(60_000, "A growing message becomes one record once it was closed for so long.")

That is all an option needs: its name, its unit, how it is read, its flag, its variable and its place in the file follow
from the field (see options.py). Imports nothing, so that every part of the broker can say its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

KEY = "option"
INLINE = "inline"


class Details(NamedTuple):
    """`name`: where the field's own is not what people are to write. `least`: of a number.

    `live`: a reload puts it in force; else it takes a restart. `secret`: its value is shown to nobody. `check` raises
    ValueError for what is not allowed.
    """

    text: str
    name: str = ""
    least: int = 0
    live: bool = False
    secret: bool = False
    one_of: tuple[str, ...] = ()
    check: Callable[[Any], object] | None = None


def option(default: Any, text: str, **details: Any) -> Any:
    """A field that an operator can set. `details` are those of Details."""
    return field(default=default, metadata={KEY: Details(text, **details)})


def inlined(group: type) -> Any:
    """A group of options that people see without the group's name in front of theirs."""
    return field(default_factory=group, metadata={INLINE: True})
