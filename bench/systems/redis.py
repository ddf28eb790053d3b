"""Redis Streams (an XADD per message, pipelined; XREAD BLOCK), and its pub/sub without storage. RESP2, raw.

Rewriting the append-only file is off: a fork in the middle of a short run would be a cost without its benefit.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from ..lane import Feed, Lane
from ..link import Load, LoadFailed, OrderedWriter, Reader
from ..plan import Plan
from ..server import Server, free_port
from .peers import program

# Entries per XREAD and stream: large replies for replay, bounded all the same.
READ_COUNT = 5_000
_STREAM = b"*2\r\n$10\r\nlane:"
_FIELD = b"\r\n*2\r\n$1\r\nm\r\n"
_PING = b"*1\r\n$4\r\nPING\r\n"


def command(*words: bytes) -> bytes:
    """A request in RESP: an array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(word), word) for word in words])


class RedisWriter(OrderedWriter):
    """A reply per message: the entry's id, two lines."""

    lines_per_reply = 2

    def greet(self) -> None:
        self._lines = 0
        self._requests = [self.request(lane.name.encode()) for lane in self.lanes]
        self.opened()

    def request(self, name: bytes) -> bytes:
        return command(b"XADD", name, b"*", b"m", self.load.message)

    def encode(self, lane: Lane, count: int) -> None:
        self.sent(lane, count)
        self.out.append(self._requests[lane.index] * count)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"-") or b"\n-" in data:
            self.load.fail(LoadFailed(f"Redis said {data[:200]!r}"))
        self._lines += data.count(b"\n")
        replies, self._lines = divmod(self._lines, self.lines_per_reply)
        self.answered(replies)
        self.flush()


class RedisReader(Reader):
    """One XREAD over all its streams at a time; the reply's last id of a stream is where the next one goes on."""

    def greet(self) -> None:
        self._reply: list[bytes] = []
        self._bytes = 0
        self._need = 0
        self._by_name = {lane.name.encode()[5:]: index for index, lane in enumerate(self.lanes)}
        first = b"$" if self.start == "latest" and any(lane.sent for lane in self.lanes) else b"0-0"
        self._ids = [first] * len(self.lanes)
        head = (b"XREAD", b"COUNT", b"%d" % READ_COUNT, b"BLOCK", b"0", b"STREAMS")
        self._names = [lane.name.encode() for lane in self.lanes]
        self._head = head
        self.transport.write(_PING + self._ask())

    def _ask(self) -> bytes:
        return command(*self._head, *self._names, *self._ids)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            data = data.removeprefix(b"+PONG\r\n")
            self.opened()
        if not data:
            return
        self._reply.append(data)
        self._bytes += len(data)
        if self._bytes >= self._need and data.endswith(b"\r\n"):
            self._try(b"".join(self._reply))

    def _try(self, reply: bytes) -> None:
        """Takes the reply if it is whole: its last stream then has as many entries as it said."""
        if reply.startswith(b"-"):
            self.load.fail(LoadFailed(f"Redis said {reply[:200]!r}"))
            return
        head, *streams = reply.split(_STREAM)
        last = streams[-1] if streams else b""
        entries = self._entries(last)
        if len(streams) != int(head[1:-2]) or last.count(_FIELD) < entries or not reply.endswith(b"!\r\n"):
            self._reply = [reply]
            return
        self._reply, self._bytes = [], 0
        now_s = perf_counter()
        for stream in streams:
            self._take(stream, now_s)
        self.transport.write(self._ask())

    def _entries(self, stream: bytes) -> int:
        """What stands behind the name: `00042\\r\\n*N\\r\\n`; 0 while that is not all there."""
        end = stream.find(b"\r\n", 8)
        return int(stream[8:end]) if end > 0 else 2**60

    def _take(self, stream: bytes, now_s: float) -> None:
        index = self._by_name[stream[:5]]
        end = stream.rfind(_FIELD)
        self._ids[index] = stream[stream.rfind(b"\n", 0, end) + 1 : end]
        self.feeds[index].deliver(self._entries(stream), now_s)


class PubSubWriter(RedisWriter):
    lines_per_reply = 1

    def request(self, name: bytes) -> bytes:
        return command(b"PUBLISH", name, self.load.message)


class PubSubReader(Reader):
    """Pushed messages; each ends with the `!` that every payload ends with."""

    def greet(self) -> None:
        self._rest = b""
        self._feeds: dict[bytes, Feed] = {feed.lane.name.encode(): feed for feed in self.feeds}
        self._subscribed = 0
        self.transport.write(command(b"SUBSCRIBE", *self._feeds))

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._subscribed += data.count(b"\r\nsubscribe\r\n")
            if self._subscribed >= len(self.lanes):
                self.opened()
            return
        now_s = perf_counter()
        if len(self.feeds) == 1:
            self.feeds[0].deliver(data.count(b"!"), now_s)
            return
        data = self._rest + data
        end = data.rfind(b"!") + 1
        self._rest = data[end:]
        for name, count in Counter(_NAME.findall(data, 0, end)).items():
            self._feeds[name].deliver(count, now_s)


_NAME = re.compile(rb"lane:\d+")

_STORED = {
    "always": (
        "on disk (append-only file, fdatasync once per event-loop turn)",
        ["--appendonly", "yes", "--appendfsync", "always"],
    ),
    "everysec": ("in the page cache; synced once a second", ["--appendonly", "yes", "--appendfsync", "everysec"]),
    "stock": ("in memory; a snapshot now and then", []),
}


class Redis:
    """`redis-always`, `-everysec` and `-stock` are Streams; `-pubsub` stores nothing."""

    def __init__(self, mode: str) -> None:
        self.name = f"redis-{mode}"
        self._pubsub = mode == "pubsub"
        no_log = dict.fromkeys(("replay", "resume"), "it keeps no log")
        self.unfit: Mapping[str, str] = no_log if self._pubsub else {}
        self.ack_means, self._options = _STORED.get(mode, ("handed to subscribers, stored nowhere", ["--save", ""]))

    def missing(self) -> str | None:
        return None if program("redis-server") else "apt-get install redis-server"

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        folder.mkdir(exist_ok=True)
        port = port or free_port()
        fixed = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no"]
        sized = ["--maxclients", "19000", "--tcp-backlog", "4096", "--auto-aof-rewrite-percentage", "0"]
        server = Server(plan, folder, [program("redis-server") or "", *fixed, *sized, *self._options, *options])
        server.address = ("127.0.0.1", port)
        server.wait_until(_answers)
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> RedisWriter:
        return PubSubWriter(load, lanes) if self._pubsub else RedisWriter(load, lanes)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> Reader:
        return PubSubReader(load, lanes, start) if self._pubsub else RedisReader(load, lanes, start)


def _answers(probe: socket.socket) -> bool:
    probe.sendall(_PING)
    return probe.recv(64).startswith(b"+PONG")
