"""The hand that breaks things, by plan or because somebody asks for it, and mends them again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from .plan import BROKER, Act, Deed
from .screen import Screen

_DONE: dict[Deed, str] = {"cut": "connection cut", "stop": "stopped (SIGSTOP)", "kill": "killed (SIGKILL)"}
_UNDONE: dict[Deed, str] = {"cut": "line mended", "stop": "continued (SIGCONT)", "kill": "started again"}


class Victim(Protocol):
    """What the hand can do to somebody, and undo."""

    async def suffer(self, deed: Deed) -> None: ...

    async def recover(self, deed: Deed) -> None: ...


class Hand:
    """One deed at a time for each victim, undone before the next."""

    def __init__(self, victims: Mapping[str, Victim], screen: Screen) -> None:
        self._victims = victims
        self._screen = screen
        self._busy = {name: asyncio.Lock() for name in victims}
        self._rests = False

    def is_free(self, target: str) -> bool:
        """Whether a deed to `target` would begin at once."""
        return not self._rests and not self._busy[target].locked()

    async def carry_out(self, plan: Sequence[Act]) -> None:
        for act in plan:
            await asyncio.sleep(act.at_s - self._screen.elapsed_s)
            await self.strike(act.deed, act.target, act.hold_s)

    async def strike(self, deed: Deed, target: str, hold_s: float) -> None:
        async with self._busy[target]:
            if self._rests:
                return
            self._screen.say(f"{target}: {_DONE[deed]}", "red" if target == BROKER else "yellow")
            await self._victims[target].suffer(deed)
            await asyncio.sleep(hold_s)
            await self._victims[target].recover(deed)
            self._screen.say(f"{target}: {_UNDONE[deed]}")

    async def rest(self) -> None:
        """No deeds from now on. Returns when those that were begun are undone."""
        self._rests = True
        for busy in self._busy.values():
            async with busy:
                pass
