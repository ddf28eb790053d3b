"""What every system's load connections have in common: closed loop, counting, ending, failing.

A system's writer says how `count` messages look on its wire and recognises acknowledgements; its reader
recognises messages. Neither decides when to send: that is `refill` here, or a scenario's clock.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import cast

from .lane import Feed, Lane


class LoadFailed(Exception):
    """The server refused something, closed a connection, or delivered what it should not have."""


class Load:
    """What all connections of one run share. `batched`: a lane's messages go as one request where that exists."""

    def __init__(self, batched: bool = True, closed_loop: bool = True, message_bytes: int = 64) -> None:
        self.batched = batched
        self.closed_loop = closed_loop
        self.set_message(message_bytes)
        self.running = False
        self.ack_latencies: array[float] = array("d")
        self.latencies: array[float] = array("d")
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set_message(self, size: int) -> None:
        """Capital letters, and an exclamation mark that ends it: text for systems that want text, easy to count."""
        self.message = (bytes(range(65, 91)) * (size // 26 + 1))[: size - 1] + b"!"

    def fail(self, error: BaseException) -> None:
        if not self.failure.done():
            self.running = False
            self.failure.set_exception(error)

    def forget_latencies(self) -> None:
        del self.ack_latencies[:], self.latencies[:]


class Link(asyncio.Protocol):
    """One load connection. `ready` is done when the server has answered everything that opening it takes.

    `expected`: the connection's end is meant, and no failure.
    """

    def __init__(self, load: Load, lanes: Sequence[Lane]) -> None:
        self.load = load
        self.lanes = lanes
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened_s = 0.0
        self.expected = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self.greet()

    def greet(self) -> None:
        """Sends what opens the connection; `opened` must follow."""
        self.opened()

    def opened(self) -> None:
        if not self.ready.done():
            self.opened_s = perf_counter()
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.expected:
            self.load.fail(LoadFailed(f"the server closed a connection: {error!r}"))

    def close(self) -> None:
        self.expected = True
        if hasattr(self, "transport"):
            self.transport.abort()


class Writer(Link):
    """Publishes to its lanes. `encode` appends a request's bytes to `out`; `flush` writes them all at once."""

    def __init__(self, load: Load, lanes: Sequence[Lane]) -> None:
        super().__init__(load, lanes)
        self.out: list[bytes] = []
        for index, lane in enumerate(lanes):
            lane.index = index

    def encode(self, lane: Lane, count: int) -> None:
        raise NotImplementedError

    def send(self, lane: Lane, count: int, now_s: float) -> None:
        self.encode(lane, count)
        lane.send(count, now_s)

    def refill(self, lane: Lane, now_s: float) -> None:
        """Sends what the window allows: all of it as one piece, or whole units."""
        free = lane.free()
        unit = lane.unit or free
        while 0 < unit <= free:
            self.send(lane, unit, now_s)
            free -= unit

    def acked(self, lane: Lane, count: int, now_s: float) -> None:
        load = self.load
        lane.ack(count, now_s, load.ack_latencies)
        if load.running and load.closed_loop:
            self.refill(lane, now_s)

    def start(self) -> None:
        now_s = perf_counter()
        for lane in self.lanes:
            self.refill(lane, now_s)
        self.flush()

    def flush(self) -> None:
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out = []


class OrderedWriter(Writer):
    """For systems that answer message by message, in the order sent: `sent` remembers whose turn it is."""

    def __init__(self, load: Load, lanes: Sequence[Lane]) -> None:
        super().__init__(load, lanes)
        self._unanswered: deque[list[int]] = deque()

    def sent(self, lane: Lane, count: int) -> None:
        self._unanswered.append([lane.index, count])

    def answered(self, messages: int) -> None:
        now_s = perf_counter()
        released: dict[int, int] = {}
        while messages:
            oldest = self._unanswered[0]
            taken = min(messages, oldest[1])
            released[oldest[0]] = released.get(oldest[0], 0) + taken
            messages -= taken
            oldest[1] -= taken
            if not oldest[1]:
                self._unanswered.popleft()
        for index, count in released.items():
            self.acked(self.lanes[index], count, now_s)


class Reader(Link):
    """Subscribes to its lanes from `start` on: "latest", "earliest", or a lane's offset to go on after."""

    def __init__(self, load: Load, lanes: Sequence[Lane], start: str | int) -> None:
        super().__init__(load, lanes)
        self.start = start
        self.feeds = [Feed(lane, load.latencies, start) for lane in lanes]

    @property
    def delivered(self) -> int:
        return sum(feed.delivered for feed in self.feeds)
