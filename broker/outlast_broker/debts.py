"""What waits for sockets that take nothing for now, all of them together. Pure.

One connection's share is bounded by itself. When half of what all may have is used, that bound shrinks, so that
readers fall behind sooner and are served from the log; beyond all of it those to whom most is owed have to go.
"""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")
# What one connection may have waiting when memory is short.
SHORT_BYTES = 65_536
# Those who have to go leave so much of the bound free, that not everybody who comes next meets it again.
RELIEVED = 0.75


class Debts(Generic[C]):
    """`connection_bytes_max` is what may wait for one connection now. `others` are debts that are counted elsewhere."""

    __slots__ = ("_bytes_max", "_connection_bytes_max", "_owed", "connection_bytes_max", "others", "total")

    def __init__(self, bytes_max: int, connection_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._connection_bytes_max = self.connection_bytes_max = connection_bytes_max
        self._owed: dict[C, int] = {}
        self.total = 0
        self.others = 0

    @property
    def is_over(self) -> bool:
        return 0 < self._bytes_max < self.total + self.others

    @property
    def over_bytes(self) -> int:
        """How much less must wait for the bound to be met with room to spare."""
        return self.total + self.others - int(self._bytes_max * RELIEVED)

    def owe(self, connection: C, size: int) -> None:
        """So much waits for a socket that is full."""
        self.total += size - self._owed.pop(connection, 0)
        if size:
            self._owed[connection] = size
        self._adapt()

    def settled(self, connection: C) -> None:
        """The socket takes again, or is gone."""
        self.owe(connection, 0)

    def biggest(self) -> list[C]:
        """Who has to go for the rest to fit again, those with most first."""
        over = self.over_bytes
        chosen: list[C] = []
        for connection, size in sorted(self._owed.items(), key=lambda item: -item[1]):
            if over <= 0:
                break
            chosen.append(connection)
            over -= size
        return chosen

    def _adapt(self) -> None:
        short = 0 < self._bytes_max < 2 * (self.total + self.others)
        most = self._connection_bytes_max
        self.connection_bytes_max = min(most, SHORT_BYTES) if short else most
