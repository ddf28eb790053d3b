"""The cursors of one channel and who waits for them (PROTOCOL.md 6.9). Pure: told what happens, it says who to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CURSORS_MAX


class Standing(NamedTuple):
    """Where a cursor stands and when it got there."""

    offset: int
    acked_ms: int


class Waiter:
    """Somebody who wants to know when `cursor` stands at `offset` or beyond. Told once, by `reach` or `miss`."""

    __slots__ = ("_ends", "_missed", "_reached", "cursor", "offset", "over")

    def __init__(
        self, cursor: str, offset: int, reached: Callable[[int], None], missed: Callable[[ProtocolError], None]
    ) -> None:
        self.cursor = cursor
        self.offset = offset
        self.over = False
        self._reached = reached
        self._missed = missed
        self._ends: list[Callable[[], object]] = []

    def when_over(self, end: Callable[[], object]) -> None:
        """Calls `end` when the wait is over, whichever way."""
        self._ends.append(end)

    def reach(self, offset: int) -> None:
        if self.leave():
            self._reached(offset)

    def miss(self, error: ProtocolError) -> None:
        if self.leave():
            self._missed(error)

    def leave(self) -> bool:
        """Ends the wait and tells nobody. False when it was over already."""
        if self.over:
            return False
        self.over = True
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        return True


class Cursors:
    """Includes what is accepted and not on disk yet: answers that reveal it wait for the commit."""

    __slots__ = ("_standings", "_waiting")

    def __init__(self, standings: dict[str, Standing]) -> None:
        self._standings = standings
        self._waiting: dict[str, dict[Waiter, None]] = {}

    def __len__(self) -> int:
        return len(self._standings)

    def offset(self, name: str) -> int:
        """0 for a cursor that does not exist: it has acknowledged nothing."""
        standing = self._standings.get(name)
        return standing.offset if standing else 0

    def get(self, name: str) -> Standing | None:
        return self._standings.get(name)

    def rows(self, after: str | None) -> list[tuple[str, Standing]]:
        """Names and standings in byte order of the names, those behind `after`."""
        start = (after or "").encode()
        names = [name for name in self._standings if name.encode() > start]
        return [(name, self._standings[name]) for name in sorted(names, key=str.encode)]

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

    # --- waiting ------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter) -> None:
        self._waiting.setdefault(waiter.cursor, {})[waiter] = None
        waiter.when_over(lambda: self.drop(waiter))

    def waiters(self) -> list[Waiter]:
        return [waiter for waiting in self._waiting.values() for waiter in waiting]

    def reached(self, name: str) -> list[Waiter]:
        """Those who waited for no more than where the cursor stands now; they are not counted any longer."""
        if name not in self._waiting:
            return []
        offset = self.offset(name)
        reached = [waiter for waiter in self._waiting[name] if waiter.offset <= offset]
        for waiter in reached:
            self.drop(waiter)
        return reached

    def drop(self, waiter: Waiter) -> bool:
        """The waiter is not counted any longer. False when it was not any more: it has been reached, or is over."""
        waiting = self._waiting.get(waiter.cursor, {})
        if waiter not in waiting:
            return False
        del waiting[waiter]
        if not waiting:
            del self._waiting[waiter.cursor]
        return True
