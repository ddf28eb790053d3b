"""Who is on the stage: broker, agent, viewers. Each is a process with what is known about it."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from outlast_broker.configuration.quantities import show_count

from .child import Child, News
from .line import Line
from .plan import Deed
from .proof import Promise
from .scene import AgentView, BrokerView, PageView, ViewerView
from .screen import Screen
from .tally import Account

READY_TIMEOUT_S = 30
_READY = re.compile(r"ready at outlast://127\.0\.0\.1:(\d+)")


class Broker:
    """`outlast serve` on a port of its own, the same one after each restart."""

    def __init__(self, folder: Path, view: BrokerView, origins: Callable[[], Sequence[str]] = tuple) -> None:
        self.view = view
        self.port = 0
        self._origins = origins
        self._folder = folder
        self._ready = asyncio.Event()
        self.child = Child("broker", (), lambda news: None, self._heard)

    async def start(self) -> None:
        """Returns when it listens. Raises TimeoutError, with what it said."""
        listen = f"127.0.0.1:{self.port}"
        arguments = (
            "outlast_cli", "serve", "--listen", listen, "--data", str(self._folder), "--log-level", "error",
            # The proof compares records one by one: messages stay as they were written.
            "--fold-after", "7d", *(word for origin in self._origins() for word in ("--allow-origin", origin)),
        )  # fmt: skip
        self.child = Child("broker", arguments, lambda news: None, self._heard)
        self._ready.clear()
        await self.child.start()
        try:
            await asyncio.wait_for(self._ready.wait(), READY_TIMEOUT_S)
        except TimeoutError:
            raise TimeoutError(f"the broker did not start: {' '.join(self.child.noise)}") from None
        self.view.state, self.view.pid = "up", self.child.pid

    def _heard(self, line: str) -> None:
        if match := _READY.search(line):
            self.port = int(match[1])
            self._ready.set()

    async def suffer(self, deed: Deed) -> None:
        self.view.state = "killed"
        self.view.kills += 1
        await self.child.kill()

    async def recover(self, deed: Deed) -> None:
        await self.start()


class Agent:
    """One process after the other, each of which goes on where the last one was killed.

    `account` is what the broker acknowledged, once they are done; `promises` what it had whenever one was killed.
    """

    def __init__(self, url: str, seconds: float, seed: int, view: AgentView, screen: Screen) -> None:
        self.view = view
        self.account: Account | None = None
        self.promises: list[Promise] = []
        self.duplicates = 0
        self._url = url
        self._seed = seed
        self._seconds = seconds
        self._end_s = 0.0
        self._has_begun = asyncio.Event()
        self._screen = screen
        self._earlier_duplicates = 0
        self._promise = Promise(0, "")
        self._is_there = asyncio.Event()
        self._is_there.set()
        self.child = self._next_child()

    def _next_child(self) -> Child:
        left_s = max(self._end_s - asyncio.get_running_loop().time(), 0) if self._end_s else self._seconds
        arguments = ("outlast_cli.demo.agent", self._url, str(left_s), str(self._seed))
        return Child("agent", arguments, self._heard, lambda line: None)

    async def begun(self) -> None:
        """Returns when the first of the processes writes, or has ended before."""
        loop = asyncio.get_running_loop()
        ends = {loop.create_task(self._has_begun.wait()), loop.create_task(self.child.finished())}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    async def finished(self) -> None:
        """Returns when the last of the processes has ended by itself."""
        while True:
            await self.child.finished()
            if self._is_there.is_set():
                return
            await self._is_there.wait()

    async def suffer(self, deed: Deed) -> None:
        self._is_there.clear()
        self.view.state = "killed"
        await self.child.kill()
        if self.account is None:
            self.view.kills += 1
            self.promises.append(self._promise)
            self._earlier_duplicates = self.duplicates

    async def recover(self, deed: Deed) -> None:
        if self.account is None:
            self.child = self._next_child()
            await self.child.start()
        self._is_there.set()

    def _heard(self, news: News) -> None:
        kind = news.pop("kind")
        if kind == "progress":
            self._progress(news)
        elif kind == "state":
            self._enter(news["state"])
        elif kind == "end":
            self.duplicates = self._earlier_duplicates + news.pop("duplicates")
            self.account = Account(**news)
            self.view.state, self.view.acknowledged = "done", self.account.records
            self.view.written = self.account.records

    def _progress(self, news: News) -> None:
        if not self._has_begun.is_set():
            self._end_s = asyncio.get_running_loop().time() + self._seconds
            self._has_begun.set()
        self.view.written, self.view.acknowledged, self.view.file = news["written"], news["acknowledged"], news["file"]
        self.duplicates = self._earlier_duplicates + news["duplicates"]
        self._promise = Promise(news["acknowledged"], news["sha256"])

    def _enter(self, state: str) -> None:
        """Only `open` is a connection; the agent writes on without one."""
        if state == "open" and self.view.state == "alone":
            waiting = show_count(self.view.written - self.view.acknowledged, "record")
            self._screen.say(f"agent: the broker is back, sends {waiting} not acknowledged so far", "green")
        if state == "waiting" and self.view.state == "writing":
            self._screen.say("agent: lost the broker, works on")
        if state in ("open", "waiting") and self._is_there.is_set():
            self.view.state = "writing" if state == "open" else "alone"


class PageLine:
    """The line that all of the page's tabs share."""

    def __init__(self, line: Line, view: PageView) -> None:
        self._line = line
        self._view = view

    async def suffer(self, deed: Deed) -> None:
        self._line.cut()
        self._view.state = "cut off"

    async def recover(self, deed: Deed) -> None:
        self._line.mend()
        self._view.state = "up"


class Viewer:
    """A viewer behind its own line. `account` is what it saw, once it is done."""

    def __init__(self, name: str, line: Line, folder: Path, view: ViewerView, screen: Screen) -> None:
        self.name = name
        self.view = view
        self.account: Account | None = None
        self._line = line
        self._screen = screen
        url = f"outlast://127.0.0.1:{line.port}"
        arguments = ("outlast_cli.demo.viewer", url, name, str(folder))
        self.child = Child(name, arguments, self._heard, lambda text: None)

    async def start(self) -> None:
        await self.child.start()

    async def suffer(self, deed: Deed) -> None:
        if deed == "cut":
            self._line.cut()
            self.view.state = "cut off"
        elif deed == "stop":
            self.child.signal(signal.SIGSTOP)
            self.view.state = "stopped"
        else:
            await self.child.kill()
            self.view.state = "killed"

    async def recover(self, deed: Deed) -> None:
        if deed == "cut":
            self._line.mend()
        elif deed == "stop":
            self.child.signal(signal.SIGCONT)
        else:
            await self.child.start()

    def _heard(self, news: News) -> None:
        kind = news.pop("kind")
        if kind == "progress":
            self._progress(news)
        elif kind == "state" and news["state"] == "waiting" and self.view.state == "live":
            self.view.state = "waiting"
        elif kind == "back":
            self._screen.say(f"{self.name} {return_text(**news)}", "green")
        elif kind == "resync":
            self._screen.say(f"{self.name}: RESYNC, the channel was {news['reason']}", "red")
        elif kind == "end":
            self.account = Account(**news)
            self.view.state, self.view.offset = "done", self.account.records

    def _progress(self, news: News) -> None:
        view = self.view
        view.offset, view.gaps, view.repeats, view.tail = (
            news["offset"], news["gaps"], news["repeats"], news["tail"],
        )  # fmt: skip
        if self.child.is_running:
            view.state = "live"


def return_text(first: int, replayed: int) -> str:
    if not replayed:
        return f"back: had missed nothing before {first:,}"
    return f"back: replayed {show_count(replayed, 'record')} from {first:,}"
