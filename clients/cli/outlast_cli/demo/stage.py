"""The stage: sets everything up, lets it happen, collects the accounts, and clears away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import outlast
from outlast_broker.configuration.quantities import show_count

from ..exits import Exit
from ..terminal import paint
from .child import Child
from .hand import Hand, Victim
from .line import Line
from .page import Page
from .part import CHANNEL
from .plan import AGENT, BROKER, PAGE, VIEWERS, Deed, make_plan
from .proof import holds, proof_table, prove, verdict
from .roles import Agent, Broker, PageLine, Viewer
from .scene import Scene, ViewerView
from .screen import Screen
from .tally import Account, Tally, data_bytes

# How long what a button of the page broke stays broken.
PRESSED_HOLD_S = 3.0
# After the time is up: for what is unfinished, and for the independent read.
FINISH_TIMEOUT_S = 30
# For tabs that are open: one that nobody looks at may sleep.
TABS_TIMEOUT_S = 10


class Stage:
    """`page_port` 0 takes a free one. With `stays` the page is served on after the proof, until it is interrupted."""

    def __init__(self, seconds: float, seed: int, folder: Path, page_port: int, stays: bool) -> None:
        self._seconds = seconds
        self._seed = seed
        self._folder = folder
        self._page_port = page_port
        self._stays = stays
        self._scene = Scene(seconds, viewers={name: ViewerView() for name in VIEWERS})
        self._screen = Screen(self._scene)
        self._page = Page(self._scene, self._screen, self._press)
        self._broker = Broker(folder / "broker", self._scene.broker, lambda: self._page.origins)
        self._lines: list[Line] = []
        self._viewers: list[Viewer] = []
        self._agent: Agent | None = None
        self._hand: Hand | None = None
        self._pressing: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """The exit code: 0 when the proof holds."""
        try:
            async with self._shown():
                await self._set_up()
                await self._play()
                history = await self._read_history()
                tabs = await self._page.accounts(TABS_TIMEOUT_S)
            code = self._judge(history, tabs)
            if self._stays:
                await self._stay()
            return code
        finally:
            try:
                self._screen.clear()
            finally:
                await self._clear_away()

    @asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        showing = asyncio.get_running_loop().create_task(self._screen.run())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.wait({showing})

    @property
    def _url(self) -> str:
        return f"outlast://127.0.0.1:{self._broker.port}"

    # --- acts ---------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        self._page.bind(self._page_port)
        await self._broker.start()
        self._screen.say(f"broker: process {self._broker.child.pid} at {self._url}, records in a folder of its own")
        page_line = await self._open_line()
        await self._page.open(page_line.port)
        self._screen.say(f"page: {self._page.url} shows it, too, and breaks things; open it in two tabs", "cyan")
        for name in VIEWERS:
            await self._seat(name)
        self._agent = Agent(self._url, self._seconds, self._seed, self._scene.agent, self._screen)
        await self._agent.child.start()
        self._screen.say(f"agent: process {self._agent.child.pid}, studies Python's standard library")
        await self._until_finished("agent", self._agent.begun(), FINISH_TIMEOUT_S)
        self._hand = Hand(self._victims(self._agent, page_line), self._screen)
        self._screen.start_clock()

    async def _open_line(self) -> Line:
        line = Line(self._broker.port)
        self._lines.append(line)
        await line.open()
        return line

    async def _seat(self, name: str) -> None:
        folder = self._folder / name.replace(" ", "-")
        viewer = Viewer(name, await self._open_line(), folder, self._scene.viewers[name], self._screen)
        self._viewers.append(viewer)
        await viewer.start()
        self._screen.say(f"{name}: process {viewer.child.pid}, follows {CHANNEL} from the start")

    def _victims(self, agent: Agent, page_line: Line) -> dict[str, Victim]:
        viewers = {viewer.name: viewer for viewer in self._viewers}
        return {BROKER: self._broker, AGENT: agent, PAGE: PageLine(page_line, self._scene.page), **viewers}

    def _press(self, deed: Deed, target: str) -> bool:
        """A button of the page."""
        if self._hand is None or not self._hand.is_free(target):
            return False
        task = asyncio.get_running_loop().create_task(self._strike(self._hand, deed, target))
        self._pressing.add(task)
        task.add_done_callback(self._pressing.discard)
        return True

    async def _strike(self, hand: Hand, deed: Deed, target: str) -> None:
        """What does not come back fails the proof; here it is only said."""
        try:
            await hand.strike(deed, target, PRESSED_HOLD_S)
        except TimeoutError as error:
            self._screen.say(f"{target}: {error}", "red")

    async def _play(self) -> None:
        """Returns when all have finished, or will not."""
        assert self._agent is not None and self._hand is not None
        loop = asyncio.get_running_loop()
        hand = loop.create_task(self._hand.carry_out(make_plan(self._seconds, self._seed)))
        work = loop.create_task(self._until_finished("agent", self._agent.finished(), self._seconds + FINISH_TIMEOUT_S))
        try:
            done, _ = await asyncio.wait({hand, work}, return_when=asyncio.FIRST_COMPLETED)
            if hand in done:
                hand.result()
            await work
            if self._agent.account is not None:
                await self._hand.rest()
                children = [viewer.child for viewer in self._viewers]
                await asyncio.gather(
                    *(self._until_finished(child.name, child.finished(), FINISH_TIMEOUT_S) for child in children)
                )
        finally:
            for task in (hand, work, *self._pressing):
                task.cancel()
            await asyncio.wait({hand, work, *self._pressing})

    async def _until_finished(self, name: str, finishing: Awaitable[None], timeout_s: float) -> None:
        try:
            await asyncio.wait_for(finishing, timeout_s)
        except TimeoutError:
            self._screen.say(f"{name} did not finish in time", "red")

    async def _read_history(self) -> Account | None:
        """What lies in the channel, read by somebody who took no part."""
        assert self._agent is not None
        tally = Tally()
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S), outlast.connect(self._url, client_id="witness") as client:
                async for record in client.channel(CHANNEL).history(raw=True):
                    tally.add(record.offset, data_bytes(record.data))
                    for promise in self._agent.promises:
                        promise.see(tally)
        except (TimeoutError, outlast.OutlastError) as error:
            self._screen.say(f"history cannot be read: {error}", "red")
            return None
        return tally.account()

    # --- the verdict --------------------------------------------------------------------------------------

    def _judge(self, history: Account | None, tabs: Mapping[str, Account]) -> int:
        assert self._agent is not None
        viewers = {viewer.name: viewer.account for viewer in self._viewers}
        readers = {**viewers, **tabs, "history, read anew": history}
        checks = prove(self._agent.account, readers, self._agent.promises)
        self._page.tell_verdict(verdict(self._agent.account, readers, checks))
        self._screen.print()
        for line in proof_table(self._agent.account, readers):
            self._screen.print(line)
        self._screen.print()
        for check in checks:
            self._screen.say_check(check.claim, check.holds)
        self._screen.print()
        self._tell_totals(holds(checks))
        return Exit.OK if holds(checks) else Exit.REFUSED

    def _tell_totals(self, proved: bool) -> None:
        assert self._agent is not None
        kills, duplicates = show_count(self._scene.broker.kills, "time"), show_count(self._agent.duplicates, "record")
        agents = f", the agent {show_count(self._scene.agent.kills, 'time')}" if self._scene.agent.kills else ""
        outcome = paint("PROVED", "green", bold=True) if proved else paint("FAILED", "red", bold=True)
        self._screen.print(f"{outcome}  The broker was killed {kills}{agents}; {duplicates} sent twice, stored once.")
        if not proved:
            for child in self._children():
                for line in child.noise:
                    self._screen.print(f"{child.name} said: {line}")

    # --- clearing away ------------------------------------------------------------------------------------

    def _children(self) -> Sequence[Child]:
        agents = [self._agent.child] if self._agent else []
        return [*agents, *(viewer.child for viewer in self._viewers), self._broker.child]

    async def _stay(self) -> None:
        """Until somebody interrupts it: that is then no interruption."""
        self._screen.print(f"The page stays at {self._page.url} until Ctrl-C.")
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()

    async def _clear_away(self) -> None:
        await self._page.close()
        for child in self._children():
            await child.kill()
        for line in self._lines:
            await line.close()


async def run_demo(seconds: float, seed: int, page_port: int, stays: bool) -> int:
    """The exit code. Ctrl-C, SIGTERM and a closed terminal end it in order, too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with TemporaryDirectory(prefix="outlast-demo-") as folder:
        try:
            return await Stage(seconds, seed, Path(folder), page_port, stays).run()
        except asyncio.CancelledError:
            return Exit.INTERRUPTED
