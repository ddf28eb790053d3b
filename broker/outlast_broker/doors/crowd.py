"""Everybody who is connected, through whichever door, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..connection import ClientConnection

DOORS = ("tcp", "unix", "websocket", "http")


class Crowd:
    """`subscriptions` there are, and how many of them are `live`."""

    __slots__ = ("_by_door", "_newest", "_present", "live", "subscriptions")

    def __init__(self) -> None:
        self._present: dict[int, ClientConnection] = {}
        self._by_door = dict.fromkeys(DOORS, 0)
        self._newest = 0
        self.subscriptions = 0
        self.live = 0

    def enter(self, connection: ClientConnection, door: str) -> int:
        """The connection's id, which no other gets."""
        self._newest += 1
        self._present[self._newest] = connection
        self._by_door[door] += 1
        return self._newest

    def leave(self, connection_id: int, door: str) -> None:
        if self._present.pop(connection_id, None) is not None:
            self._by_door[door] -= 1

    @property
    def by_door(self) -> dict[str, int]:
        return self._by_door.copy()

    @property
    def behind(self) -> int:
        """Subscriptions that are not live."""
        return self.subscriptions - self.live

    def page(self, after: int, count: int) -> Iterable[ClientConnection]:
        """Those who came after the one with the id `after`."""
        later = (connection for number, connection in self._present.items() if number > after)
        return islice(later, count)
