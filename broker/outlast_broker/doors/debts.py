"""What waits for sockets that take nothing for now, all of them together. Pure; times are steady.

One connection's share is bounded by itself. When half of what all may have is used, that bound shrinks, so that
readers fall behind sooner and are served from the log. Beyond all of it those to whom most is owed have to go, if they
have taken nothing for a while: what goes to many at once is one piece of memory, and is counted for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

C = TypeVar("C")
# What one connection may have waiting when memory is short.
SHORT_BYTES = 65_536
# Who takes something now and then is slow; who has taken nothing for so long is stalled.
STALLED_MS = 1_000
# Those who have to go leave so much of the bound free, that not everybody who comes next meets it again.
RELIEVED = 0.75


class Debts(Generic[C]):
    """`connection_bytes_max` is what may wait for one connection now. `others` are debts that are counted elsewhere."""

    __slots__ = ("_bytes_max", "_connection_bytes_max", "_owed", "connection_bytes_max", "others", "total")

    def __init__(self, bytes_max: int, connection_bytes_max: int) -> None:
        self._owed: dict[C, tuple[int, int]] = {}
        self.total = 0
        self.others = 0
        self.bound(bytes_max, connection_bytes_max)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._owed))

    def bound(self, bytes_max: int, connection_bytes_max: int) -> None:
        """Of all, 0 for none; and of one connection."""
        self._bytes_max = bytes_max
        self._connection_bytes_max = connection_bytes_max
        self._adapt()

    @property
    def all_bytes(self) -> int:
        return self.total + self.others

    @property
    def is_over(self) -> bool:
        return 0 < self._bytes_max < self.all_bytes

    @property
    def over_bytes(self) -> int:
        """How much less must wait for the bound to be met with room to spare."""
        return self.all_bytes - int(self._bytes_max * RELIEVED)

    def owe(self, connection: C, size: int, now_ms: int) -> None:
        """So much waits for a socket that is full."""
        before, since_ms = self._owed.get(connection, (0, now_ms))
        self._owed[connection] = (size, now_ms if size < before else since_ms)
        self.total += size - before
        self._adapt()

    def settled(self, connection: C) -> None:
        """The socket takes again, or is gone."""
        size, _ = self._owed.pop(connection, (0, 0))
        self.total -= size
        self._adapt()

    def biggest(self, now_ms: int) -> list[C]:
        """Who has to go for the rest to fit again, those with most first."""
        over = self.over_bytes
        stalled = [(size, each) for each, (size, since_ms) in self._owed.items() if now_ms - since_ms >= STALLED_MS]
        chosen: list[C] = []
        for size, connection in sorted(stalled, key=lambda item: -item[0]):
            if over <= 0:
                break
            chosen.append(connection)
            over -= size
        return chosen

    def _adapt(self) -> None:
        short = 0 < self._bytes_max < 2 * self.all_bytes
        most = self._connection_bytes_max
        self.connection_bytes_max = min(most, SHORT_BYTES) if short else most
