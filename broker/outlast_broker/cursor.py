"""The cursors of one channel and who waits for them (PROTOCOL.md 6.9). Pure: told what happens, it says who to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CURSORS_MAX


class Standing(NamedTuple):
    """Where a cursor stands and when it got there."""

    offset: int
    acked_ms: int


class Waiter(NamedTuple):
    """`reached` is called when the cursor stands at `offset`, `missed` when it is too late or cannot any more."""

    cursor: str
    offset: int
    deadline_ms: int
    reached: Callable[[], None]
    missed: Callable[[ProtocolError], None]


class Cursors:
    """Includes what is accepted and not on disk yet: answers that reveal it wait for the commit."""

    __slots__ = ("_standings", "_waiters")

    def __init__(self, standings: dict[str, Standing]) -> None:
        self._standings = standings
        self._waiters: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._standings)

    @property
    def awaited(self) -> bool:
        return bool(self._waiters)

    def offset(self, name: str) -> int:
        """0 for a cursor that does not exist: it has acknowledged nothing."""
        standing = self._standings.get(name)
        return standing.offset if standing else 0

    def get(self, name: str) -> Standing | None:
        return self._standings.get(name)

    def names(self, after: str | None) -> list[str]:
        """In byte order."""
        start = (after or "").encode()
        names = sorted(self._standings, key=str.encode)
        return [name for name in names if not after or name.encode() > start]

    def advance(self, name: str, offset: int, now_ms: int) -> Standing | None:
        """The new standing; None when the cursor stands there or beyond already. Raises `limit_exceeded`."""
        known = self._standings.get(name)
        if known is not None and offset <= known.offset:
            return None
        if known is None and len(self._standings) >= CURSORS_MAX:
            text = f"the channel has {CURSORS_MAX} cursors"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="cursors", value=CURSORS_MAX)
        self._standings[name] = standing = Standing(offset, now_ms)
        return standing

    def forget(self, name: str) -> Standing:
        """Raises `unknown_cursor`."""
        standing = self._standings.pop(name, None)
        if standing is None:
            raise ProtocolError(ErrorCode.UNKNOWN_CURSOR, f"there is no cursor {name!r}")
        return standing

    def wait(self, waiter: Waiter) -> None:
        self._waiters.append(waiter)

    def reached(self, name: str) -> list[Waiter]:
        """Those who waited for no more than where the cursor stands now; they wait no longer."""
        offset = self.offset(name)
        return self._release(waiter for waiter in self._waiters if waiter.cursor == name and waiter.offset <= offset)

    def late(self, now_ms: int) -> list[Waiter]:
        """Those whose time is up; they wait no longer."""
        return self._release(waiter for waiter in self._waiters if waiter.deadline_ms <= now_ms)

    def abandon(self) -> list[Waiter]:
        """Everybody who waits: there is nothing to wait for any more."""
        return self._release(self._waiters)

    def _release(self, waiters: Iterable[Waiter]) -> list[Waiter]:
        released = list(waiters)
        self._waiters = [waiter for waiter in self._waiters if waiter not in released]
        return released
