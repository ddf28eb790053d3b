"""Whoever attaches, whenever and wherever, rebuilds what a reader from the start has (PROTOCOL.md 6.10).

A seeded run of one channel: publishes of every kind, moves into chunks, folding, restarts, and readers that attach in
between. What each of them rebuilds is compared with a model that was told of everything when it was accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from outlast_broker import clock, stretches
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Log
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode, Record
from outlast_protocol.batch import encode_labelled, read_records, spans
from outlast_protocol.frames import UNCONDITIONAL, Attach, Attached, Deliver, Error, Message, Page, Publish, Published
from outlast_protocol.operations import MessageState, Op, Operation

from tests.broker.stage import Actor, Stage, Time
from tests.support.bounds import FACTOR, seeded_random

STEPS = 100
RUNS = 5
ROOM = "room"
TEXT, JSON = 1, 2


class Told(NamedTuple):
    """A message as somebody knows it, and through which offset."""

    content: bytes
    state: MessageState
    place: int


class Knowledge:
    """What follows from the records that somebody was given, in order."""

    def __init__(self) -> None:
        self.messages: dict[int, Told] = {}
        self.state: dict[str, tuple[int, int, bytes]] = {}
        self.plain: dict[int, bytes] = {}
        self.state_through = 0
        # Operations on messages whose beginning is not known: they count once it is.
        self.waiting: dict[int, list[Record]] = {}

    def hear(self, record: Record) -> None:
        operation = record.operation
        if operation is None:
            assert record.offset not in self.plain, "a record was given twice"
            self.plain[record.offset] = record.data
        elif operation.key:
            if record.offset > self.state_through:
                self._change(operation, record)
        elif operation.op is Op.FOLDED:
            self._take_folded(operation, record)
        else:
            self._grow(operation, record)

    def _change(self, operation: Operation, record: Record) -> None:
        if operation.op is Op.SET:
            self.state[operation.key] = (record.offset, record.encoding, record.data)
        elif operation.op is Op.UNSET:
            self.state.pop(operation.key, None)
        else:
            before = int(self.state[operation.key][2]) if operation.key in self.state else 0
            self.state[operation.key] = (record.offset, JSON, b"%d" % (before + operation.by))

    def _take_folded(self, operation: Operation, record: Record) -> None:
        known = self.messages.get(operation.message)
        if known is None or record.offset > known.place:
            self.messages[operation.message] = Told(record.data, operation.state, record.offset)
        for waiting in self.waiting.pop(operation.message, []):
            self.hear(waiting)

    def _grow(self, operation: Operation, record: Record) -> None:
        message = operation.message or record.offset
        if operation.op is Op.OPEN:
            self.messages.setdefault(message, Told(b"", MessageState.OPEN, 0))
        if message not in self.messages:
            self.waiting.setdefault(message, []).append(record)
            return
        known = self.messages[message]
        if record.offset <= known.place:
            return
        known = known._replace(place=record.offset)
        match operation.op:
            case Op.OPEN | Op.REPLACE:
                known = known._replace(content=record.data)
            case Op.APPEND:
                known = known._replace(content=known.content + record.data)
            case Op.CLOSE:
                known = known._replace(state=operation.state)
            case Op.REMOVE:
                known = known._replace(content=b"", state=MessageState.REMOVED)
            case Op.REOPEN:
                known = known._replace(state=MessageState.OPEN)
        self.messages[message] = known


class Reader:
    """Attaches, and hears what comes until it is asked what it knows."""

    def __init__(self, actor: Actor, number: int, raw: bool, **start: Any) -> None:
        self.actor = actor
        self.knowledge = Knowledge()
        self.raw = raw
        self.reached = 0
        # Messages that were closed before its beginning: it hears of what is done to them, and not what they were.
        self.over: set[int] = set()
        frame = Attach(actor.request(), number, 1 << 30, raw=raw, presence=False, **start)
        actor.send(frame)
        attached = actor.expect(Attached)
        self.after = self.reached = attached.after
        self.through = attached.through
        self.knowledge.state = {key: (version, encoding, data) for key, version, _, _, encoding, data in attached.state}
        self.knowledge.state_through = attached.through
        for message in attached.messages:
            self._fetch(number, message)

    def _fetch(self, number: int, message: int) -> None:
        """An open message that the history will not have."""
        request = self.actor.request()
        self.actor.send(Message(request, number, message))
        self._until(lambda frame: getattr(frame, "request", None) == request)

    def catch_up(self, last: int) -> None:
        while self.reached < last:
            self._until(lambda frame: isinstance(frame, Deliver))

    def _until(self, wanted: Callable[[Any], bool]) -> None:
        while True:
            frame: Any = self.actor.expect(object)
            if isinstance(frame, Deliver):
                self._delivered(frame.batches)
            elif isinstance(frame, Page):
                for record in read_records(frame.batches):
                    self.knowledge.hear(record)
            else:
                assert isinstance(frame, Error) and frame.code == ErrorCode.UNKNOWN_MESSAGE, frame
            if wanted(frame):
                return

    def _delivered(self, batches: bytes) -> None:
        for span in spans(batches):
            assert span.offset <= self.reached + 1, f"{span.offset} came after {self.reached}"
            for record in read_records(batches[span.start : span.end]):
                if record.offset > self.reached:
                    self.knowledge.hear(record)
            self.reached = max(self.reached, span.last)


class World:
    """One channel, who writes there, who reads there, and what is true."""

    def __init__(self, log: Log, chance: random.Random, time: Time) -> None:
        self.chance = chance
        self.time = time
        self.truth = Knowledge()
        self.last = 0
        self._start(log)

    def _start(self, log: Log) -> None:
        self.stage = Stage(log, journal_bytes=1, journal_age_ms=0, fold_after_ms=2_000)
        self.writer = self.stage.client("agent")
        self.number = self.writer.open(ROOM).number
        self.readers: list[Reader] = []
        self.names = 0

    def step(self) -> None:
        verbs = [self.publish] * 12 + [self.attach] * 2 + [self.tidy] * 4 + [self.restart]
        self.chance.choice(verbs)()

    # --- writing ------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Several batches at once, so that some are accepted while others are on their way to disk."""
        batches = [self._batch() for _ in range(self.chance.randrange(1, 5))]
        self.time.advance(self.chance.randrange(0, 400))
        self.writer.send(*[Publish(self.writer.request(), self.number, 0, UNCONDITIONAL, 0, each) for each in batches])
        acks = 0
        while acks < len(batches):
            acks += len(self.writer.expect(Published).acks)

    def _batch(self) -> bytes:
        rows = []
        for _ in range(self.chance.choice((1, 1, 1, 3, 8))):
            operation, data = self._operation()
            self.last += 1
            record = Record(self.last, 0, "agent", None, {}, TEXT, data, operation)
            self.truth.hear(record)
            label = (TEXT, None, ()) if operation is None else (TEXT, None, (), operation, 0)
            rows.append((label, data))
        return encode_labelled("agent", rows)  # type: ignore[arg-type]

    def _operation(self) -> tuple[Operation | None, bytes]:
        messages = self.truth.messages
        opened = [each for each, told in messages.items() if told.state is MessageState.OPEN]
        closed = [each for each, told in messages.items() if told.state in (MessageState.COMPLETE, MessageState.ERROR)]
        word = b"%d " % self.last
        dice = self.chance.random()
        if dice < 0.1:
            return None, word
        if dice < 0.2 or not opened:
            return Operation(Op.OPEN), word
        if dice < 0.7:
            return Operation(Op.APPEND, self.chance.choice(opened)), word
        if dice < 0.8:
            state = self.chance.choice((MessageState.COMPLETE, MessageState.ERROR))
            return Operation(Op.CLOSE, self.chance.choice(opened), state), b""
        if dice < 0.85 and closed:
            return Operation(Op.REPLACE, self.chance.choice(closed)), word
        if dice < 0.87 and closed:
            return Operation(Op.REMOVE, self.chance.choice(closed)), b""
        key = self.chance.choice("abc")
        if dice < 0.93:
            return Operation(Op.SET, key=key), word
        return Operation(Op.INCREMENT, key="n", by=self.chance.randrange(-5, 6)), b""

    # --- reading ------------------------------------------------------------------------------------------

    def attach(self) -> None:
        self.names += 1
        actor = self.stage.client(f"reader{self.names}")
        number = actor.open(ROOM).number
        starts: list[dict[str, Any]] = [{"start": "earliest"}, {"start": "latest"}]
        starts += [{"after": self.chance.randrange(self.last + 1)}, {"last": self.chance.randrange(1, 20)}]
        reader = Reader(actor, number, self.chance.random() < 0.2, **self.chance.choice(starts))
        for message, told in self.truth.messages.items():
            if told.place <= reader.after and told.state is not MessageState.OPEN:
                reader.over.add(message)
        self.readers.append(reader)

    # --- the store ----------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Moves into chunks, and what is closed and cold is folded."""
        self.time.advance(1_500)
        self.stage.tick()

    def restart(self) -> None:
        self.check()
        self._start(self.stage.crash())

    # --- judging ------------------------------------------------------------------------------------------

    def check(self) -> None:
        for reader in self.readers:
            reader.catch_up(self.last)
            self._compare(reader)

    def _compare(self, reader: Reader) -> None:
        known, truth = reader.knowledge, self.truth
        assert known.state == truth.state
        assert known.plain == {at: data for at, data in truth.plain.items() if at > reader.after}
        for message, told in truth.messages.items():
            since = message > reader.after if reader.raw else told.place > reader.after
            if (since or told.state is MessageState.OPEN) and message not in reader.over:
                assert known.messages.get(message) == told, f"message {message} of a reader after {reader.after}"


@pytest.fixture(params=["memory", "disk"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    yield MemoryLog() if request.param == "memory" else LmdbLog(tmp_path, 1 << 30)


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("offsets_min", [stretches.OFFSETS_MIN, 2])
def test_every_interleaving_ends_alike(
    log: Log, run: int, offsets_min: int, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "OFFSETS_MIN", offsets_min)
    assert clock.now_ms() == time.ms
    with seeded_random() as chance:
        world = World(log, random.Random(chance.getrandbits(32) + run), time)
        for _ in range(STEPS * FACTOR):
            world.step()
        world.check()
        world.stage.close()
