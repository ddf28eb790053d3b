"""One run of one scenario: a fresh server, connections, a warm-up, a measured window, a drain, a verdict."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from . import gauge, machine
from .asker import Asker
from .gauge import Reading
from .lane import Lane, percentile_ms
from .link import Link, Load, Reader, Writer
from .pace import Pace
from .plan import Plan
from .server import Server
from .systems.system import System

# Handshakes under way at once: enough to keep the server busy, few enough for its accept queue.
HANDSHAKES = 256
CONNECT_S = 60.0

Result = dict[str, Any]


class Run:
    """`lanes`, `writers` and `readers` are all that this run opened; `server` is replaced by `restart`."""

    def __init__(self, plan: Plan, system: System, folder: Path) -> None:
        self.plan = plan
        self.system = system
        self.folder = folder
        self.load = Load()
        self.lanes: list[Lane] = []
        self.writers: list[Writer] = []
        self.readers: list[Reader] = []
        self.askers: list[Asker] = []
        self.server: Server
        # What the last restart took, from the start of the process until it listened.
        self.opening_s = 0.0
        asyncio.get_running_loop().set_exception_handler(self._failed)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.load.fail(context.get("exception") or RuntimeError(context["message"]))

    # --- setting up ---------------------------------------------------------------------------------------

    def start(self, *options: str) -> None:
        """`options` are for the system's own command line; only scenarios that are its alone use them."""
        self.server = self.system.start(self.plan, self.folder, options=options)

    async def restart(self) -> None:
        """Kills the server and starts it again on its data, at its old address. All connections are gone."""
        self._expect_ends()
        self.server.kill()
        await self.sleep(0.1)
        self._close()
        begin_s = perf_counter()
        self.server = self.system.start(self.plan, self.folder, self.server.address[1])
        self.opening_s = perf_counter() - begin_s

    def _expect_ends(self) -> None:
        for link in (*self.writers, *self.readers, *self.askers):
            link.expected = True

    def _close(self) -> None:
        for link in (*self.writers, *self.readers, *self.askers):
            link.close()
        self.writers, self.readers, self.askers = [], [], []
        for lane in self.lanes:
            lane.feeds.clear()

    def stop(self) -> None:
        self._close()
        if hasattr(self, "server"):
            self.server.stop()

    def add_lanes(self, count: int, window: int, unit: int = 0, sample: int = 64) -> list[Lane]:
        lanes = [Lane(f"lane:{len(self.lanes) + index:05}", window, unit, sample) for index in range(count)]
        self.lanes += lanes
        return lanes

    async def read(
        self,
        shares: Sequence[Sequence[Lane]],
        start: str | int = "latest",
        at_once: int = HANDSHAKES,
        latencies: array[float] | None = None,
    ) -> list[Reader]:
        """One reader for each share of lanes; they note latencies in an array of their own if one is given."""
        readers = [self.system.reader(self.load, share, start) for share in shares]
        self.readers += readers
        if latencies is not None:
            for feed in (feed for reader in readers for feed in reader.feeds):
                feed.latencies = latencies
        await self._connect(readers, at_once)
        return readers

    async def write(self, shares: Sequence[Sequence[Lane]]) -> list[Writer]:
        writers = [self.system.writer(self.load, share) for share in shares]
        await self.join(writers)
        return writers

    async def ask(self, client_ids: Sequence[str]) -> list[Asker]:
        """Connections of these clients for what is counted in requests."""
        askers = [Asker(self.load, client_id) for client_id in client_ids]
        self.askers += askers
        await self._connect(askers, HANDSHAKES)
        return askers

    async def join(self, writers: Sequence[Writer]) -> None:
        """Connects writers that a scenario has made itself."""
        self.writers += writers
        await self._connect(writers, HANDSHAKES)

    async def _connect(self, links: Sequence[Link], at_once: int) -> None:
        gate = asyncio.Semaphore(at_once)
        loop = asyncio.get_running_loop()

        async def connect(link: Link) -> None:
            async with gate:
                await loop.create_connection(lambda: link, *self.server.address)
                await link.ready

        connecting = asyncio.gather(*map(connect, links))
        waited: list[asyncio.Future[Any]] = [connecting, self.load.failure]
        await asyncio.wait(waited, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
            self.check()
            raise TimeoutError(f"{sum(not link.ready.done() for link in links)} connections did not open")
        connecting.result()

    async def publish_once(self, count: int) -> None:
        """`count` messages to every lane, acknowledged and delivered before this returns."""
        now_s = perf_counter()
        for writer in self.writers:
            for lane in writer.lanes:
                writer.send(lane, count, now_s)
            writer.flush()
        if not await self.drain():
            raise TimeoutError(f"not everything arrived: {self.verdict(False)}")

    async def preload(self, lane: Lane, messages: int) -> None:
        """At least so many messages into a lane that has a writer, window and unit."""
        self.load.running = True
        for writer in self.writers:
            writer.start()
        while lane.acked < messages:
            await self.sleep(0.005)
        self.load.running = False
        while lane.acked < lane.sent:
            await self.sleep(0.005)

    # --- measuring ----------------------------------------------------------------------------------------

    async def closed_loop(self) -> Result:
        """Keeps every lane's window full; measures after a warm-up, then lets everything arrive."""
        self.load.running = True
        for writer in self.writers:
            writer.start()
        return await self.window()

    async def paced(self, rate: float, per_tick: int = 1) -> Result:
        """Sends `rate` messages a second over all lanes; latencies count from the intended moment."""
        Pace(self.writers, rate, per_tick).start()
        return await self.window()

    async def window(self) -> Result:
        """Measures the load that is running, then stops and drains it."""
        result = await self.measured()
        return result | self.verdict(await self.drain())

    async def measured_pace(self, rate: float) -> Result:
        """As `paced`, without the drain."""
        Pace(self.writers, rate).start()
        return await self.measured()

    async def measured(self) -> Result:
        await self.sleep(self.plan.warmup_s)
        self.load.forget_latencies()
        begin = self.reading()
        await self.sleep(self.plan.seconds)
        result = gauge.between(begin, self.reading()) | self.latencies()
        self.load.running = False
        return result | {"window_rss_mb": machine.resident_bytes(self.server.pid) / 1e6}

    async def sleep(self, seconds: float) -> None:
        """Fails at once when the load does."""
        await asyncio.wait([self.load.failure], timeout=seconds)
        self.check()

    def check(self) -> None:
        if self.load.failure.done():
            self.load.failure.result()

    def reading(self) -> Reading:
        return gauge.read(self.server.pid, self.acked, self.delivered)

    def latencies(self) -> Result:
        return spread("ack", self.load.ack_latencies) | spread("delivery", self.load.latencies)

    async def drain(self) -> bool:
        """Waits until everything sent is acknowledged and delivered to each of its readers."""
        deadline_s = perf_counter() + self.plan.drain_s
        while not self.complete and perf_counter() < deadline_s:
            await self.sleep(0.01)
        return self.complete

    @property
    def acked(self) -> int:
        return sum(lane.acked for lane in self.lanes)

    @property
    def delivered(self) -> int:
        return sum(reader.delivered for reader in self.readers)

    @property
    def complete(self) -> bool:
        return all(
            lane.acked == lane.sent and all(feed.delivered == lane.sent for feed in lane.feeds) for lane in self.lanes
        )

    def verdict(self, complete: bool) -> Result:
        """`complete`: sent == acked == delivered to every reader."""
        return {
            "sent": sum(lane.sent for lane in self.lanes),
            "acked": self.acked,
            "delivered": self.delivered,
            "complete": complete,
            "rss_mb": machine.resident_bytes(self.server.pid) / 1e6,
        }


def spread(name: str, latencies: array[float]) -> Result:
    """p50, p99 and p99.9 in ms."""
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {f"{name}_{key}_ms": percentile_ms(latencies, share) for key, share in shares.items()}


def each(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Shares of one lane: a connection of its own for each."""
    return [[lane] for lane in lanes]


def shared(lanes: Sequence[Lane], connections: int) -> list[Sequence[Lane]]:
    """The lanes dealt out to so many connections."""
    return [lanes[index::connections] for index in range(min(connections, len(lanes)))]
