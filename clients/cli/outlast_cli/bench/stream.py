"""The scenario `stream`."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from time import perf_counter

from outlast import Ack, BufferFull

from .figures import Found, spread
from .lane import Lane, drained, followed
from .metronome import keep, tempo
from .site import Site, Stopwatch


async def stream(site: Site) -> Found:
    """Tokens at a steady pace: latency from when each was meant to be sent.

    Over --channels channels, --rate messages a second in all, each to one subscriber. Latency counts from
    the moment when a message was meant to go out, so a stall is charged for everything that waits for it.
    Good: p50 at most two fsyncs (see `single`), for a message waits for the commit that is under way and
    then for its own; p99.9 below ten. Bound: the disk's fsync, and its worst moments.
    """
    plan = site.plan
    pace = tempo(plan.rate, site.grant(round(plan.rate * plan.seconds)))
    run = Run(await site.open(plan.channels), site.data, pace.per_beat)
    async with followed(site.lanes, run.seen):
        with Stopwatch() as watch:
            await keep(pace, run.beat)
            await run.settled()
            await drained(site.lanes)
    return Found(watch.elapsed_s, watch.cpu_s, spread(run.delivery_s), spread(run.ack_s), run.note)


class Run:
    """Sends to one lane after the other, whatever the answers do."""

    def __init__(self, lanes: Sequence[Lane], data: bytes, per_beat: int) -> None:
        self.delivery_s = array("d")
        self.ack_s = array("d")
        self._data = data
        self._per_beat = per_beat
        self._lanes = cycle(lanes)
        self._due_s = {lane: array("d") for lane in lanes}
        self._latest: dict[Lane, asyncio.Future[Ack]] = {}
        self._unsent = 0

    def beat(self, due_s: float) -> None:
        for _ in range(self._per_beat):
            self._send(next(self._lanes), due_s)

    def _send(self, lane: Lane, due_s: float) -> None:
        try:
            future = lane.publish_nowait(self._data)
        except BufferFull:
            self._unsent += 1
            return
        self._due_s[lane].append(due_s)
        self._latest[lane] = future
        future.add_done_callback(partial(self._answered, lane, due_s))

    def _answered(self, lane: Lane, due_s: float, future: asyncio.Future[Ack]) -> None:
        if not future.cancelled() and future.exception() is None:
            lane.acked += 1
            self.ack_s.append(perf_counter() - due_s)

    def seen(self, lane: Lane) -> None:
        self.delivery_s.append(perf_counter() - self._due_s[lane][lane.delivered - 1])

    async def settled(self) -> None:
        """Acks come in the order of publishing: a lane's latest is its last. Raises what refused one."""
        await asyncio.gather(*self._latest.values())

    @property
    def note(self) -> str:
        return f"behind: {self._unsent:,} messages found the client's buffer full" if self._unsent else ""
