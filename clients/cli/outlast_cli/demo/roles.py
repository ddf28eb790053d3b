"""Who is on the stage: broker, agent, viewers. Each is a process with what is known about it."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

from outlast_broker.quantities import show_count

from .child import Child, News
from .line import Line
from .plan import Deed
from .scene import AgentView, BrokerView, ViewerView
from .screen import Screen
from .tally import Account

READY_TIMEOUT_S = 30
_READY = re.compile(r"ready at outlast://127\.0\.0\.1:(\d+)")


class Broker:
    """`outlast serve` on a port of its own, the same one after each restart."""

    def __init__(self, folder: Path, view: BrokerView) -> None:
        self.view = view
        self.port = 0
        self._folder = folder
        self._ready = asyncio.Event()
        self.child = Child("broker", (), lambda news: None, self._heard)

    async def start(self) -> None:
        """Returns when it listens. Raises TimeoutError, with what it said."""
        listen = f"127.0.0.1:{self.port}"
        arguments = ("outlast_cli", "serve", "--listen", listen, "--data", str(self._folder), "--log-level", "error")
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
    """`account` is what the broker acknowledged to it, once it is done."""

    def __init__(self, url: str, seconds: float, seed: int, view: AgentView, screen: Screen) -> None:
        self.view = view
        self.account: Account | None = None
        self.duplicates = 0
        self._screen = screen
        arguments = ("outlast_cli.demo.agent", url, str(seconds), str(seed))
        self.child = Child("agent", arguments, self._heard, lambda line: None)

    def _heard(self, news: News) -> None:
        kind = news.pop("kind")
        if kind == "progress":
            self.view.written, self.view.acknowledged, self.view.file = (
                news["written"], news["acknowledged"], news["file"],
            )  # fmt: skip
        elif kind == "state":
            self._enter(news["state"])
        elif kind == "end":
            self.duplicates = news.pop("duplicates")
            self.account = Account(**news)
            self.view.state, self.view.acknowledged = "done", self.account.records
            self.view.written = self.account.records

    def _enter(self, state: str) -> None:
        """Only `open` is a connection; the agent writes on without one."""
        if state == "open" and self.view.state == "alone":
            waiting = show_count(self.view.written - self.view.acknowledged, "record")
            self._screen.say(f"agent: the broker is back, sends {waiting} not acknowledged so far", "green")
        if state == "waiting" and self.view.state == "writing":
            self._screen.say("agent: lost the broker, works on")
        if state in ("open", "waiting"):
            self.view.state = "writing" if state == "open" else "alone"


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
