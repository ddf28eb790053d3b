"""The Node reference server of the Durable Streams protocol, on files. HTTP/1.1, raw: POST to append, SSE to read.

A channel is a text/plain stream: what is posted is one run of bytes, without an id or a boundary per message, so
this is a weaker service than a log of records. One POST at a time per channel, with everything that is free in
it, as its client batches. Its pool of file handles and its accept queue are made larger, or 200 busy streams and
a thousand new readers would fail.
"""

from __future__ import annotations

import re
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from ..lane import Lane
from ..link import Load, LoadFailed, Reader, Writer
from ..plan import Plan
from ..server import Server
from .peers import folder as peers_folder, node_module

_HEAD = b"%s /v1/stream/%s HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
_LIVE = b"GET /v1/stream/%s?offset=%s&live=sse HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
_HISTORY = b"GET /v1/stream/%s?offset=-1 HTTP/1.1\r\nHost: bench\r\n\r\n"
_NEXT = re.compile(rb"Stream-Next-Offset: (\S+)")
_END = b"\r\n0\r\n\r\n"
_STATUS = b"HTTP/1.1 "


def name(lane: Lane) -> bytes:
    return lane.name.replace(":", "-").encode()


class DurableStreamsWriter(Writer):
    """Responses come in the order of the requests. What may be sent while a POST is out waits for its answer."""

    def greet(self) -> None:
        self._uncreated = len(self.lanes)
        self._out_lanes: deque[tuple[Lane, int]] = deque()
        self._held: dict[int, int] = {}
        self._busy: set[int] = set()
        self.transport.write(b"".join([_HEAD % (b"PUT", name(lane), 0) for lane in self.lanes]))

    def encode(self, lane: Lane, count: int) -> None:
        if not self.load.batched:
            for _ in range(count):
                self._post(lane, 1)
        elif lane.index in self._busy:
            self._held[lane.index] = self._held.get(lane.index, 0) + count
        else:
            self._busy.add(lane.index)
            self._post(lane, count)

    def _post(self, lane: Lane, count: int) -> None:
        message = self.load.message
        self._out_lanes.append((lane, count))
        self.out.append(_HEAD % (b"POST", name(lane), len(message) * count) + message * count)

    def data_received(self, data: bytes) -> None:
        answers = data.count(_STATUS)
        if data.count(_STATUS + b"20") != answers:
            self.load.fail(LoadFailed(f"the server said {data[:200]!r}"))
            return
        if not self.ready.done():
            self._uncreated -= answers
            if not self._uncreated:
                self.opened()
            return
        now_s = perf_counter()
        for _ in range(answers):
            lane, count = self._out_lanes.popleft()
            self._busy.discard(lane.index)
            if held := self._held.pop(lane.index, 0):
                self.encode(lane, held)
            self.acked(lane, count, now_s)
        self.flush()


class DurableStreamsReader(Reader):
    """A plain GET for what is there, then one SSE response. Every message ends with `!`, which nothing else has."""

    def greet(self) -> None:
        assert len(self.lanes) == 1, "a connection reads one stream"
        self._receive = self._created
        self._tail = b""
        self.transport.write(_HEAD % (b"PUT", name(self.lanes[0]), 0))

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def _created(self, data: bytes) -> None:
        if not data.startswith(_STATUS + b"20"):
            self.load.fail(LoadFailed(f"the server said {data[:200]!r}"))
        elif self.start == "earliest":
            self._next = b""
            self._receive = self._caught_up
            self.transport.write(_HISTORY % name(self.lanes[0]))
        else:
            self._go_live(b"now")

    def _caught_up(self, data: bytes) -> None:
        """Chunks of the stream so far; a chunk of no bytes ends them."""
        if not self._next and (found := _NEXT.search(data)):
            self._next = found[1]
        self.opened()
        self.feeds[0].deliver(data.count(b"!"), perf_counter())
        self._tail = (self._tail + data)[-len(_END) :]
        if self._tail == _END:
            self._go_live(self._next)

    def _go_live(self, offset: bytes) -> None:
        self._receive = self._live
        self.transport.write(_LIVE % (name(self.lanes[0]), offset))

    def _live(self, data: bytes) -> None:
        # The first thing that a live reader hears is a control event with its position.
        if not self.ready.done() and b"event: control" in data:
            self.opened()
        self.feeds[0].deliver(data.count(b"!"), perf_counter())


class DurableStreams:
    name = "durable-streams"
    ack_means = "on disk (fdatasync of the stream's file, then its metadata in LMDB), once per POST"
    unfit: Mapping[str, str] = {"sessions_10k": "a connection reads one stream: that would be 10,000 readers"}

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "install Node.js 20 or newer"
        if node_module("@durable-streams/server") is None:
            return f"npm install --prefix {peers_folder()} @durable-streams/server"
        return None

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        folder.mkdir(exist_ok=True)
        module = node_module("@durable-streams/server")
        script = Path(__file__).with_suffix(".mjs")
        server = Server(plan, folder, ["node", str(script), str(module), str(folder), str(port), *options])
        server.address = ("127.0.0.1", int(server.read_line()))
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> DurableStreamsWriter:
        return DurableStreamsWriter(load, lanes)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> DurableStreamsReader:
        return DurableStreamsReader(load, lanes, start)
