"""A process on the stage, seen from the stage: started, listened to, signalled, ended by its id."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

News = dict[str, Any]
NOISE_LINES = 20


class Child:
    """Runs a module of this package. `on_news` gets each line that is a JSON object, `on_text` all others."""

    def __init__(
        self, name: str, arguments: Sequence[str], on_news: Callable[[News], None], on_text: Callable[[str], None]
    ) -> None:
        self.name = name
        self.noise: deque[str] = deque(maxlen=NOISE_LINES)
        self._arguments = arguments
        self._on_news = on_news
        self._on_text = on_text
        self._process: Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """In a session of its own: a Ctrl-C is for the stage, which then ends its processes in order."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-m", *self._arguments,
            stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True, env=_environment(),
        )  # fmt: skip
        self._listening = asyncio.get_running_loop().create_task(self._listen(self._process))

    def signal(self, number: int) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    async def finished(self) -> None:
        """Returns when the process has ended by itself and all that it said was heard."""
        if self._process is not None and self._listening is not None:
            await asyncio.shield(self._listening)
            await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, and returns when the process is gone and all that it said was heard."""
        if self._process is None or self._listening is None:
            return
        if self.is_running:
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            news = _parse(line)
            if news is not None:
                self._on_news(news)
                continue
            self.noise.append(line)
            self._on_text(line)


def _parse(line: str) -> News | None:
    try:
        news = json.loads(line)
    except ValueError:
        return None
    return news if isinstance(news, dict) and "kind" in news else None


def _environment() -> dict[str, str]:
    """What is set for another broker must not reach the demo's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
