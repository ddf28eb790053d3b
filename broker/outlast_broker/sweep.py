"""When a channel's chunks are gone through for records that are over (PROTOCOL.md 4.8). Pure.

That they lie there harms nobody, for nobody is given them: it is done a piece at a time, and no more often than pays.
"""

from __future__ import annotations

from typing import NamedTuple

# Going through takes at most one part in so many of the time.
PAUSE_FACTOR = 10
LONG_AGO_MS = 1


class Perishing(NamedTuple):
    """Of some records: the first offset of a batch with a time to live in it, and when the first of all is over.

    0: there is none.
    """

    first: int = 0
    over_ms: int = 0

    def and_then(self, later: Perishing) -> Perishing:
        """Of both; `later` comes behind."""
        return Perishing(self.first or later.first, sooner(self.over_ms, later.over_ms))


def sooner(one_ms: int, other_ms: int) -> int:
    """The earlier of two times of which either may be 0, none."""
    return min(one_ms, other_ms) if one_ms and other_ms else one_ms or other_ms


class Sweep:
    """`first` is the first offset where a record with a time to live may lie, 0: there is none.

    `had_turn`: it took the channel's last turn, and folding has the next.
    """

    __slots__ = ("_began_ms", "_last", "_left", "_next_ms", "_over_ms", "_reached", "_young_ms", "first", "had_turn")

    def __init__(self, first: int) -> None:
        self.first = first
        # The highest offset that came with a time to live since the channel was loaded.
        self._last = 0
        # When the first is over of those that the last round left, and of those that came since it began.
        # Of those that are found in a store nothing is known.
        self._over_ms, self._young_ms = (LONG_AGO_MS if first else 0), 0
        self._reached = self._began_ms = self._next_ms = 0
        self._left = Perishing()
        self.had_turn = False

    def expect(self, first: int, last: int, over_ms: int) -> None:
        """Records with a time to live were accepted, the first of which is over at `over_ms`."""
        self.first = self.first or first
        self._last = last
        self._over_ms = sooner(self._over_ms, over_ms)
        self._young_ms = sooner(self._young_ms, over_ms)

    def is_due(self, stored: int, now_ms: int) -> bool:
        """Whether there is something to look for in the chunks, which end at `stored`."""
        return self._reached > 0 or (self.next_ms <= now_ms and self.first <= stored)

    @property
    def next_ms(self) -> int:
        """Before this it is not worth to begin."""
        return max(self._next_ms, self._over_ms)

    def begin(self, first: int, stored: int, now_ms: int) -> int:
        """Where to go on; `first` is the lowest offset that is kept."""
        self.had_turn = True
        if not self._reached:
            self._began_ms, self._left = now_ms, Perishing()
            self._young_ms = self._young_ms if self._last > stored else 0
        return max(self._reached, self.first, first)

    def went(self, through: int, left: Perishing, stored: int, now_ms: int, pause_ms: int) -> bool:
        """What was over up to `through` is gone, and so much is left. Returns whether that was a whole round."""
        self._left = self._left.and_then(left)
        self._reached = through + 1
        if through < stored:
            return False
        self.first = self._left.first or (self._reached if self._last > through else 0)
        self._over_ms = sooner(self._left.over_ms, self._young_ms)
        self._next_ms = now_ms + max(pause_ms, PAUSE_FACTOR * (now_ms - self._began_ms))
        self._reached = 0
        return True
