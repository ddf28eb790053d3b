"""Those who have come and not said yet what they want: apart from the others, bounded, and not for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from outlast_protocol import ErrorCode, ProtocolError

RETRY_MS = 1_000


class Arrival(Protocol):
    """A socket of which nobody knows yet what it wants."""

    def tick(self, now_ms: int) -> None:
        """Sends it away if it has had its time."""

    def turn_away(self, error: ProtocolError) -> None:
        """Says why it is not let in, if it can be told."""

    def close(self) -> None:
        """Nobody waits for it any longer."""


class Lobby:
    """When it is full the one that has waited longest makes room, and `crowded_out` is told: who means well is through
    in no time.
    """

    def __init__(self, arrivals_max: int, crowded_out: Callable[[], None]) -> None:
        self.arrivals_max = arrivals_max
        self._crowded_out = crowded_out
        self._waiting: dict[Arrival, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Arrival]:
        return iter(list(self._waiting))

    def enter(self, arrival: Arrival) -> None:
        if len(self._waiting) >= self.arrivals_max:
            oldest = next(iter(self._waiting))
            self._crowded_out()
            text = f"more than {self.arrivals_max} have come and not said what they want"
            oldest.turn_away(ProtocolError(ErrorCode.OVERLOADED, text, limit="arrivals", retry_after_ms=RETRY_MS))
            oldest.close()
        self._waiting[arrival] = None

    def leave(self, arrival: Arrival) -> None:
        self._waiting.pop(arrival, None)
