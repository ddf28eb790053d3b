"""A position: where a reader stands in a channel, and in which life of that channel.

Offsets alone lie after a channel was deleted and created again; the epoch tells the two lives apart.
The text form, `EPOCH:OFFSET` with the epoch as 16 hexadecimal digits, is what clients store.
"""

from __future__ import annotations

import re
from typing import NamedTuple

OFFSET_MAX = 2**63 - 1
EPOCH_MAX = 2**64 - 1

_TEXT = re.compile(r"([0-9a-f]{16}):(0|[1-9][0-9]{0,18})", re.ASCII)


class Position(NamedTuple):
    """`offset` is the last one the reader has; 0 means that it has none yet."""

    epoch: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch:016x}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `text` names. Raises ValueError with the expected form."""
        match = _TEXT.fullmatch(text)
        if match is None or int(match[2]) > OFFSET_MAX:
            raise ValueError(f"{text[:60]!r} is no position: expected EPOCH:OFFSET, as 00c0ffee00c0ffee:42")
        return cls(int(match[1], 16), int(match[2]))
