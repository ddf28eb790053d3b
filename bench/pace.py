"""An open loop: messages go out when they were meant to, however slow the answers are.

Latency then counts from the intended moment, so a server that stalls is charged for everything that had to
wait for it, and a load that wakes up late is charged too.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Sequence
from itertools import cycle
from struct import Struct
from time import perf_counter

from .link import LoadFailed, Writer

# A server this far behind does not keep up, and what waits must stay bounded.
BEHIND_MAX = 200_000
_CLOCK_MONOTONIC = 1
_ITIMERSPEC = Struct("@llll")


class Ticker:
    """The kernel's timer as a file: far more punctual than a loop's own, which rounds to milliseconds."""

    def __init__(self, tick_s: float) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK)
        seconds, nanoseconds = divmod(round(tick_s * 1e9), 1_000_000_000)
        setting = _ITIMERSPEC.pack(seconds, nanoseconds, seconds, nanoseconds)
        if self.fd < 0 or self._libc.timerfd_settime(self.fd, 0, setting, None):
            raise OSError(ctypes.get_errno(), "timerfd")

    def close(self) -> None:
        os.close(self.fd)


class Pace:
    """`rate` messages a second over all lanes of `writers`, one lane after the other, `per_tick` at each tick."""

    def __init__(self, writers: Sequence[Writer], rate: float, per_tick: int = 1) -> None:
        self._load = writers[0].load
        self._load.closed_loop = False
        self._tick_s = per_tick / rate
        self._per_tick = per_tick
        targets = [(writer, lane) for writer in writers for lane in writer.lanes]
        self._targets = cycle(targets)
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self._load.running = True
        self._ticker = Ticker(self._tick_s)
        self._due_s = perf_counter() + self._tick_s
        self._loop.add_reader(self._ticker.fd, self._tick)

    def stop(self) -> None:
        self._loop.remove_reader(self._ticker.fd)
        self._ticker.close()

    def _tick(self) -> None:
        if not self._load.running:
            self.stop()
            return
        os.read(self._ticker.fd, 8)
        touched: dict[Writer, None] = {}
        now_s = perf_counter()
        while self._due_s <= now_s:
            for _ in range(self._per_tick):
                writer, lane = next(self._targets)
                writer.send(lane, 1, self._due_s)
                touched[writer] = None
            self._due_s += self._tick_s
        for writer in touched:
            writer.flush()
        self._check(touched)

    def _check(self, touched: dict[Writer, None]) -> None:
        behind = sum(lane.sent - lane.acked for writer in touched for lane in writer.lanes)
        if behind > BEHIND_MAX:
            self._load.fail(LoadFailed(f"{behind} messages wait for their ack: the server does not keep up"))
