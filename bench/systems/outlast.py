"""Outlast itself: raw frames over TCP, producer sequences on (promise 3), every ack after its fsync."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from struct import Struct
from time import perf_counter
from typing import Any

from outlast_protocol import frames as f
from outlast_protocol.batch import encode_batch

from ..lane import Feed, Lane
from ..link import Load, LoadFailed, Reader, Writer
from ..plan import Plan
from ..server import Server
from ..walk import ACK, DELIVER, PUBLISHED, Frames, delivered

_PUBLISH = Struct("<IBBHIQQQQ")
_NUMBER = Struct("<Q")
CLIENT = "bench"
_CREDIT = 1 << 30
_CREDIT_STEP = 1 << 28
# Requests wrap before the protocol's u32 does.
_REQUESTS = 2**32 - 2


@lru_cache(maxsize=4_096)
def _batch(count: int, message: bytes) -> bytes:
    return encode_batch(CLIENT, [(message, None, None)] * count)


def hello(client_id: str = CLIENT) -> bytes:
    return f.encode(f.Hello([f.VERSION], client_id, [secrets.randbits(63), 0], heartbeat_ms=60_000))


def _opens(lanes: Sequence[Lane]) -> bytes:
    return b"".join([f.encode(f.Open(1 + index, lane.name)) for index, lane in enumerate(lanes)])


def decode(kind: int, data: bytes, start: int, end: int) -> Any:
    return f.BY_NUMBER[kind].decode(data, start, end)


class OutlastWriter(Writer):
    """Request numbers tell the lane: 1 + index + lanes * turn."""

    def greet(self) -> None:
        self._frames = Frames()
        self._unopened = len(self.lanes)
        self.transport.write(hello())

    def encode(self, lane: Lane, count: int) -> None:
        message = self.load.message
        if self.load.batched:
            lane.pending.append(count)
            self.publish(lane, _batch(count, message))
            return
        batch = _batch(1, message)
        for _ in range(count):
            self.publish(lane, batch)

    def publish(self, lane: Lane, batch: bytes) -> None:
        lane.sequence = sequence = lane.sequence + 1
        request = 1 + (lane.index + len(self.lanes) * sequence) % _REQUESTS
        head = _PUBLISH.pack(44 + len(batch), 0x12, 0, 0, request, lane.number, sequence, f.UNCONDITIONAL, 0)
        self.out.append(head + batch)

    def data_received(self, data: bytes) -> None:
        for kind, run, start, end in self._frames.feed(data):
            if kind == PUBLISHED:
                self._published(run, start + 8, end)
            else:
                self._other(kind, run, start, end)
        self.flush()

    def _published(self, data: bytes, start: int, end: int) -> None:
        now_s = perf_counter()
        lanes = self.lanes
        if len(lanes) == 1:
            self._released(lanes[0], (end - start) // ACK.size, now_s)
            return
        released: dict[int, int] = {}
        for request, _, _ in ACK.iter_unpack(data[start:end]):
            index = (request - 1) % len(lanes)
            released[index] = released.get(index, 0) + 1
        for index, publishes in released.items():
            self._released(lanes[index], publishes, now_s)

    def _released(self, lane: Lane, publishes: int, now_s: float) -> None:
        count = publishes
        if self.load.batched:
            count = sum([lane.pending.popleft() for _ in range(publishes)])
        self.acked(lane, count, now_s)

    def _other(self, kind: int, data: bytes, start: int, end: int) -> None:
        frame = decode(kind, data, start, end)
        match frame:
            case f.Opened():
                self.lanes[frame.request - 1].number = frame.number
                self._unopened -= 1
                if not self._unopened:
                    self.opened()
            case f.Ping():
                self.out.append(f.encode(f.Pong(frame.token)))
            case f.Welcome():
                self.transport.write(_opens(self.lanes))
            case _:
                self.load.fail(LoadFailed(f"the broker said {frame!r}"))


class OutlastReader(Reader):
    """Checks of every batch that its offset is the one that was due."""

    def greet(self) -> None:
        self._frames = Frames()
        self._unopened = len(self.lanes)
        self._by_number: dict[int, Feed] = {}
        self.transport.write(hello())

    def data_received(self, data: bytes) -> None:
        for kind, run, start, end in self._frames.feed(data):
            if kind == DELIVER:
                self._delivered(run, start, end)
            else:
                self._other(kind, run, start, end)

    def _delivered(self, data: bytes, start: int, end: int) -> None:
        feed = self._by_number[_NUMBER.unpack_from(data, start + 8)[0]]
        after = delivered(data, start, end, feed.next)
        count = after - feed.next
        feed.next = after
        feed.deliver(count, perf_counter())
        feed.unspent += end - start
        if feed.unspent > _CREDIT_STEP:
            self.transport.write(f.encode(f.Credit(feed.lane.number, feed.unspent)))
            feed.unspent = 0

    def _other(self, kind: int, data: bytes, start: int, end: int) -> None:
        frame = decode(kind, data, start, end)
        match frame:
            case f.Opened():
                self._subscribe(frame)
            case f.Subscribed(resync=None):
                self.feeds[frame.request - 1].next = frame.after + 1
                self._unopened -= 1
                if not self._unopened:
                    self.opened()
            case f.Ping():
                self.transport.write(f.encode(f.Pong(frame.token)))
            case f.Welcome():
                self.transport.write(_opens(self.lanes))
            case _:
                self.load.fail(LoadFailed(f"the broker said {frame!r}"))

    def _subscribe(self, frame: f.Opened) -> None:
        feed = self.feeds[frame.request - 1]
        feed.lane.number = frame.number
        self._by_number[frame.number] = feed
        where: dict[str, Any] = {"start": self.start} if isinstance(self.start, str) else {"after": self.start}
        self.transport.write(f.encode(f.Subscribe(frame.request, frame.number, _CREDIT, **where)))


class Outlast:
    name = "outlast"
    ack_means = "on disk (LMDB commit with fsync, shared by everything that waits), delivered only after it"
    unfit: Mapping[str, str] = {}

    def missing(self) -> str | None:
        return None

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        command = [sys.executable, "-m", "bench.broker", "--data", str(folder), "--port", str(port), *options]
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        server = Server(plan, folder, command, {"PYTHONPATH": path})
        server.address = ("127.0.0.1", int(server.read_line()))
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> OutlastWriter:
        return OutlastWriter(load, lanes)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> OutlastReader:
        return OutlastReader(load, lanes, start)
