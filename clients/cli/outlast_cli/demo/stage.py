"""The stage: sets everything up, lets it happen, collects the accounts, and clears away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import outlast
from outlast_broker.quantities import show_count

from ..exits import Exit
from ..terminal import paint
from .child import Child
from .hand import Victim, carry_out
from .line import Line
from .part import CHANNEL
from .plan import BROKER, VIEWERS, make_plan
from .proof import holds, proof_table, prove
from .roles import Agent, Broker, Viewer
from .scene import Scene, ViewerView
from .screen import Screen
from .tally import Account, Tally, data_bytes

# After the time is up: for what is unfinished, and for the independent read.
FINISH_TIMEOUT_S = 30


class Stage:
    def __init__(self, seconds: float, seed: int, folder: Path) -> None:
        self._seconds = seconds
        self._seed = seed
        self._folder = folder
        self._scene = Scene(seconds, viewers={name: ViewerView() for name in VIEWERS})
        self._screen = Screen(self._scene)
        self._broker = Broker(folder / "broker", self._scene.broker)
        self._lines: list[Line] = []
        self._viewers: list[Viewer] = []
        self._agent: Agent | None = None

    async def run(self) -> int:
        """The exit code: 0 when the proof holds."""
        try:
            async with self._shown():
                await self._set_up()
                await self._play()
                history = await self._read_history()
            return self._judge(history)
        finally:
            self._screen.clear()
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
        await self._broker.start()
        self._screen.say(f"broker: process {self._broker.child.pid} at {self._url}, records in a folder of its own")
        for name in VIEWERS:
            line = Line(self._broker.port)
            self._lines.append(line)
            await line.open()
            folder = self._folder / name.replace(" ", "-")
            viewer = Viewer(name, line, folder, self._scene.viewers[name], self._screen)
            self._viewers.append(viewer)
            await viewer.start()
            self._screen.say(f"{name}: process {viewer.child.pid}, follows {CHANNEL} from the start")
        self._agent = Agent(self._url, self._seconds, self._seed, self._scene.agent, self._screen)
        await self._agent.child.start()
        self._screen.say(f"agent: process {self._agent.child.pid}, studies Python's standard library")
        self._screen.start_clock()

    async def _play(self) -> None:
        """Returns when all have finished, or will not."""
        assert self._agent is not None
        loop = asyncio.get_running_loop()
        hand = loop.create_task(self._let_hand_play())
        work = loop.create_task(self._until_finished(self._agent.child, self._seconds + FINISH_TIMEOUT_S))
        try:
            done, _ = await asyncio.wait({hand, work}, return_when=asyncio.FIRST_COMPLETED)
            if hand in done:
                hand.result()
            await work
            if self._agent.account is not None:
                await hand
                children = [viewer.child for viewer in self._viewers]
                await asyncio.gather(*(self._until_finished(child, FINISH_TIMEOUT_S) for child in children))
        finally:
            hand.cancel()
            work.cancel()
            await asyncio.wait({hand, work})

    async def _let_hand_play(self) -> None:
        victims: dict[str, Victim] = {BROKER: self._broker, **{viewer.name: viewer for viewer in self._viewers}}
        await carry_out(make_plan(self._seconds, self._seed), victims, self._screen)

    async def _until_finished(self, child: Child, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(child.finished(), timeout_s)
        except TimeoutError:
            self._screen.say(f"{child.name} did not finish in time", "red")

    async def _read_history(self) -> Account | None:
        """What lies in the channel, read by somebody who took no part."""
        tally = Tally()
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S), outlast.connect(self._url, client_id="witness") as client:
                async for record in client.channel(CHANNEL).history():
                    tally.add(record.offset, data_bytes(record.data))
        except (TimeoutError, outlast.OutlastError) as error:
            self._screen.say(f"history cannot be read: {error}", "red")
            return None
        return tally.account()

    # --- the verdict --------------------------------------------------------------------------------------

    def _judge(self, history: Account | None) -> int:
        assert self._agent is not None
        readers = {viewer.name: viewer.account for viewer in self._viewers} | {"history, read anew": history}
        checks = prove(self._agent.account, readers)
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
        verdict = paint("PROVED", "green", bold=True) if proved else paint("FAILED", "red", bold=True)
        self._screen.print(f"{verdict}  The broker was killed {kills}; {duplicates} sent twice, stored once.")
        if not proved:
            for child in self._children():
                for line in child.noise:
                    self._screen.print(f"{child.name} said: {line}")

    # --- clearing away ------------------------------------------------------------------------------------

    def _children(self) -> Sequence[Child]:
        agents = [self._agent.child] if self._agent else []
        return [*agents, *(viewer.child for viewer in self._viewers), self._broker.child]

    async def _clear_away(self) -> None:
        for child in self._children():
            await child.kill()
        for line in self._lines:
            await line.close()


async def run_demo(seconds: float, seed: int) -> int:
    """The exit code. Ctrl-C, SIGTERM and a closed terminal end it in order, too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with TemporaryDirectory(prefix="outlast-demo-") as folder:
        try:
            return await Stage(seconds, seed, Path(folder)).run()
        except asyncio.CancelledError:
            return Exit.INTERRUPTED
