"""Load for brokers that are killed, and the memory of what they promised.

A Writer, a Watcher and a Keeper live longer than any broker: each `run` is one broker's life for them and ends when
the connection does. What was acknowledged or shown to them is what `ledger.py` then holds the next broker to.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import Credit, Deliver, Error, Publish, Resync, Subscribe, Subscribed, Truncate

from .broker import PATIENCE_S, BrokerProcess, RawClient

# How a connection ends under a client.
GONE = (EOFError, ConnectionError)
WINDOW_BYTES = 1 << 18
Datas = list[bytes]


class Acks:
    """Counts acknowledgements of all writers, so that a kill can be timed by them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0

    def add(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def await_more(self, more: int) -> None:
        with self._changed:
            wanted = self.count + more
            assert self._changed.wait_for(lambda: self.count >= wanted, PATIENCE_S), "nothing is acknowledged"


@dataclass
class Lane:
    """What one writer did to one channel: `sent[i]` went out under sequence i + 1."""

    sent: list[Datas] = field(default_factory=list)
    acked: dict[int, int] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)


class Writer:
    """A producer that resends what was not acknowledged under the same sequence, then goes on."""

    def __init__(self, name: str, channels: list[str], rng: random.Random, acks: Acks) -> None:
        self.name = name
        self.lanes = {channel: Lane() for channel in channels}
        self.producer = (rng.getrandbits(64), 0)
        self._rng = rng
        self._acks = acks

    def run(self, client: RawClient) -> None:
        numbers = {channel: client.open(channel).number for channel in self.lanes}
        for channel, lane in self.lanes.items():
            self._say(client, numbers[channel], lane, list(lane.unanswered))
        while True:
            channel = self._rng.choice(list(self.lanes))
            lane = self.lanes[channel]
            fresh = [self._compose(channel, lane) for _ in range(self._rng.choice((1, 1, 2, 5)))]
            self._say(client, numbers[channel], lane, fresh)

    def _compose(self, channel: str, lane: Lane) -> int:
        """The sequence of a new batch: a single record, a small batch or a large one."""
        sequence = len(lane.sent) + 1
        count = self._rng.choice((1, 1, 1, 3, 20))
        size = self._rng.choice((0, 10, 10, 100, 3_000))
        head = f"{self.name}/{channel}/{sequence}"
        lane.sent.append([f"{head}/{index}/".encode() + self._rng.randbytes(size) for index in range(count)])
        lane.unanswered.append(sequence)
        return sequence

    def _say(self, client: RawClient, number: int, lane: Lane, sequences: list[int]) -> None:
        """All in one write; what is answered is noted one by one, for the broker may die in between."""
        frames: list[Publish] = [
            client.publishing(number, *lane.sent[sequence - 1], sequence=sequence) for sequence in sequences
        ]
        client.send(*frames)
        for sequence, frame in zip(sequences, frames, strict=True):
            answer = client.answer_to(frame.request)
            if isinstance(answer, Error) and answer.code == ErrorCode.INTERNAL:
                raise EOFError("the broker says that its store has failed")
            assert isinstance(answer, tuple) and len(answer) == 3, answer
            lane.acked[sequence] = answer[1]
            lane.unanswered.remove(sequence)
            self._acks.add()


class Watcher:
    """A subscriber that comes back after the last record it saw. `seen` is the channel as it was shown."""

    def __init__(self, name: str, channel: str) -> None:
        self.name = name
        self.channel = channel
        self.epoch: int | None = None
        self.last = 0
        self.seen: dict[int, bytes] = {}
        self.resyncs = 0

    def run(self, client: RawClient) -> None:
        opened = client.open(self.channel)
        start = {"start": "earliest"} if self.epoch is None else {"after": self.last, "epoch": self.epoch}
        answer = client.ask(Subscribe(client.request(), opened.number, WINDOW_BYTES, **start))
        assert isinstance(answer, Subscribed), answer
        assert self.epoch in (None, answer.epoch), "the channel was made anew"
        assert answer.resync in (None, "trimmed"), answer
        assert answer.resync or answer.after == self.last or self.epoch is None, answer
        self.epoch = answer.epoch
        self._move(answer.after, bool(answer.resync))
        while True:
            self._take(client, opened.number, client.receive())

    def _take(self, client: RawClient, number: int, frame: object) -> None:
        if isinstance(frame, Resync):
            assert frame.reason == "trimmed" and frame.epoch == self.epoch, frame
            self._move(frame.after, True)
            return
        assert isinstance(frame, Deliver), frame
        for record in read_records(frame.batches):
            if record.offset > self.last:
                assert record.offset == self.last + 1, f"{record.offset} came after {self.last}"
                self.seen[record.offset] = record.data
                self.last = record.offset
        client.send(Credit(number, 16 + len(frame.batches)))

    def _move(self, after: int, resync: bool) -> None:
        assert after >= self.last, f"the broker goes back from {self.last} to {after}"
        self.last = after
        self.resyncs += resync


class Keeper:
    """Keeps a channel short. `asked` is the furthest cut it asked for, `first` the furthest that was acknowledged."""

    def __init__(self, name: str, channel: str, rng: random.Random) -> None:
        self.name = name
        self.channel = channel
        self.asked = self.first = 1
        self._rng = rng

    def run(self, client: RawClient) -> None:
        while True:
            last = client.open(self.channel).last
            self.asked = max(self.asked, last - self._rng.randint(0, 200))
            self.first = client.result(Truncate(client.request(), self.channel, self.asked))["first"]


class Role(Protocol):
    """Does its work on one connection until that is gone. One with a `producer` says so in its HELLO."""

    name: str

    def run(self, client: RawClient) -> None: ...


@contextmanager
def working(broker: BrokerProcess, roles: Sequence[Role]) -> Iterator[None]:
    """All roles at once, each on a thread, until the broker is dead; raises what went wrong with any of them."""
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_live, args=(role, broker, failures), name=role.name) for role in roles]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        broker.kill()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "a client does not notice that the broker is dead"
    for failure in failures:
        raise failure


def _live(role: Role, broker: BrokerProcess, failures: list[BaseException]) -> None:
    try:
        client = broker.client(role.name, getattr(role, "producer", None))
        with closing(client):
            role.run(client)
    except GONE:
        pass
    except BaseException as failure:
        failures.append(failure)
