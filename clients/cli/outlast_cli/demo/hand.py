"""The hand that breaks things by plan, and mends them again."""

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


async def carry_out(plan: Sequence[Act], victims: Mapping[str, Victim], screen: Screen) -> None:
    for act in plan:
        await asyncio.sleep(act.at_s - screen.elapsed_s)
        screen.say(f"{act.target}: {_DONE[act.deed]}", "red" if act.target == BROKER else "yellow")
        await victims[act.target].suffer(act.deed)
        await asyncio.sleep(act.hold_s)
        await victims[act.target].recover(act.deed)
        screen.say(f"{act.target}: {_UNDONE[act.deed]}")
