"""Stretches of a log in which every record grows a message that is known here: who reads folded passes over them. Pure.

A reader that attaches while an answer streams would else go through ten thousand tokens to be given one message.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

# Shorter ones are not worth remembering, and no more than so many are.
OFFSETS_MIN = 64
STRETCHES_MAX = 1_000


class Stretch(NamedTuple):
    """Offsets `first` to `last`, whole batches; `last_ms` is the time of the last of them."""

    first: int
    last: int
    last_ms: int


class Stretches:
    """In order, with something else between them."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: list[Stretch] = []

    def extend(self, first: int, last: int, last_ms: int) -> None:
        """These offsets, which come after all others, only grow messages."""
        if self._all and self._all[-1].last == first - 1:
            self._all[-1] = Stretch(self._all[-1].first, last, last_ms)
            return
        if self._all and _is_short(self._all[-1]):
            self._all.pop()
        self._all.append(Stretch(first, last, last_ms))
        del self._all[:-STRETCHES_MAX]

    def forget(self, low: int, high: int) -> None:
        """Something else lies between `low` and `high` now."""
        kept: list[Stretch] = []
        for each in self._all:
            if each.last < low or each.first > high:
                kept.append(each)
            elif each.last > high:
                kept.append(each._replace(first=high + 1))
        self._all = kept

    def put_down(self, offset: int) -> None:
        """What lies at `offset` is to be met there: the store holds a folded message."""
        index = bisect_left(self._all, offset, key=lambda each: each.last)
        if index < len(self._all) and self._all[index].first <= offset:
            self._all[index : index + 1] = self._parted(self._all[index], offset)

    def _parted(self, stretch: Stretch, offset: int) -> list[Stretch]:
        """The part before has no time of its own that is known: what comes at `offset` tells it."""
        behind = stretch._replace(first=offset + 1)
        return [behind] if behind.first <= behind.last else []

    def kept_from(self, first: int) -> tuple[Stretch, ...]:
        """Those that are long enough, as far as they are not past retention."""
        clipped = [each._replace(first=max(each.first, first)) for each in self._all if each.last >= first]
        return tuple(each for each in clipped if not _is_short(each))


def _is_short(stretch: Stretch) -> bool:
    return stretch.last - stretch.first + 1 < OFFSETS_MIN
