"""A process on the stage, seen from inside: it tells news as JSON lines and ends when the stage is gone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

CHANNEL = "demo:report"
# What people say to the agent. In a channel of its own, so that the report's records are those that its agents wrote.
CONTROL = "demo:control"
END = "end"
# The demo is short: nobody stays away for the ten seconds that are right in earnest.
BACKOFF_CAP_MS = 1_000


def tell(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


def play(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` until it returns, or until standard input ends because the stage has."""
    asyncio.run(_while_staged(main))


async def _while_staged(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    stdin = sys.stdin.fileno()
    loop.add_reader(stdin, lambda: None if os.read(stdin, 1) else task.cancel())
    with suppress(asyncio.CancelledError):
        await task
