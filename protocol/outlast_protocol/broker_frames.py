"""The frames that ask about the broker itself, not about a channel (PROTOCOL.md 6.16).

`frames.py` has the others, and the table of all.
"""

from __future__ import annotations

from typing import NamedTuple


class Status(NamedTuple):
    """Answered by what the broker is and does now, in one flat map."""

    request: int


class Connections(NamedTuple):
    """Who is connected, in the order in which they came, from the one after `after`."""

    request: int
    after: int = 0
    limit: int = 100
