"""Whoever attaches, whenever and wherever, rebuilds what a reader from the start has (PROTOCOL.md 6.10).

A seeded run of one channel: publishes of every kind, moves into chunks, folding, retention, restarts, and readers in
between: who attach, who turn pages, who ask for one message. What each of them rebuilds is compared with a model that
was told of everything when it was accepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outlast_broker import channel, chunk, clock, feeder, fold, folded, rewriting, stretches
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Log
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import Record
from outlast_protocol.batch import encode_labelled, read_records
from outlast_protocol.frames import (
    UNCONDITIONAL,
    History,
    Message,
    Page,
    Publish,
    Published,
    Truncate,
)
from outlast_protocol.operations import MessageState, Op, Operation

from tests.broker.stage import Actor, Stage, Time
from tests.support.bounds import FACTOR, seeded_random
from tests.support.knowledge import Knowledge, Reader, Told

STEPS = 100
RUNS = 3
ROOM = "room"
TEXT = 1
# With these a few short records are many pieces, tiles, chunks and slices.
SMALL: dict[Any, dict[str, int]] = {
    rewriting: {"PIECE_BYTES": 700},
    fold: {"TILE_BYTES": 300},
    folded: {"STEP_BYTES": 400},
    feeder: {"SLICE_BYTES": 500},
    chunk: {"CHUNK_BYTES": 400, "MERGE_BYTES": 100},
    channel: {"CHUNK_BYTES": 400, "MERGE_BYTES": 100},
    stretches: {"OFFSETS_MIN": 2},
}


class World:
    """One channel, who writes there, who reads there, and what is true."""

    def __init__(self, log: Log, chance: random.Random, time: Time, contents_bytes: int) -> None:
        self.chance = chance
        self.time = time
        self.contents_bytes = contents_bytes
        self.truth = Knowledge()
        # Where what a message holds began last, and when records are over.
        self.base: dict[int, int] = {}
        self.over_ms: dict[int, int] = {}
        self.last = 0
        self.first = 1
        self._start(log)

    def _start(self, log: Log) -> None:
        self.stage = Stage(
            log, journal_bytes=1, journal_age_ms=0, fold_after_ms=2_000, contents_bytes=self.contents_bytes
        )
        self.writer = self.stage.client("agent")
        self.number = self.writer.open(ROOM).number
        self.readers: list[Reader] = []
        self.names = 0

    def step(self) -> None:
        verbs = [self.publish] * 12 + [self.attach] * 2 + [self.tidy] * 4 + [self.turn_pages, self.ask]
        self.chance.choice([*verbs, self.restart] * 2 + [self.truncate])()

    # --- writing ------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Several batches at once, so that some are accepted while others are on their way to disk."""
        self.time.advance(self.chance.randrange(0, 400))
        batches = [self._batch() for _ in range(self.chance.randrange(1, 5))]
        self.writer.send(*[Publish(self.writer.request(), self.number, 0, UNCONDITIONAL, 0, each) for each in batches])
        acks = 0
        while acks < len(batches):
            acks += len(self.writer.expect(Published).acks)

    def _batch(self) -> bytes:
        rows = []
        for _ in range(self.chance.choice((1, 1, 1, 3, 8))):
            operation, data, ttl_ms = self._operation()
            self.last += 1
            self._tell(Record(self.last, self.time.ms, "agent", None, {}, TEXT, data, operation, ttl_ms))
            label = (TEXT, None, (), operation, ttl_ms) if operation or ttl_ms else (TEXT, None, ())
            rows.append((label, data))
        return encode_labelled("agent", rows)  # type: ignore[arg-type]

    def _tell(self, record: Record) -> None:
        self.truth.hear(record)
        if record.ttl_ms:
            self.over_ms[record.offset] = record.time_ms + record.ttl_ms
        elif record.operation and record.operation.op in (Op.OPEN, Op.REPLACE, Op.REMOVE):
            self.base[record.operation.message or record.offset] = record.offset

    def _operation(self) -> tuple[Operation | None, bytes, int]:
        # What lost its beginning to retention the broker may know or not.
        messages = {each: told for each, told in self.truth.messages.items() if self.base[each] >= self.first}
        opened = [each for each, told in messages.items() if told.state is MessageState.OPEN]
        closed = [each for each, told in messages.items() if told.state in (MessageState.COMPLETE, MessageState.ERROR)]
        word = b"%d " % self.last
        dice = self.chance.random()
        if dice < 0.1:
            return None, word, self.chance.choice((0, 0, 1, 300, 10_000))
        if dice < 0.2 or (not opened and dice < 0.8):
            return Operation(Op.OPEN), word, 0
        if dice < 0.7:
            return Operation(Op.APPEND, self.chance.choice(opened)), word, 0
        if dice < 0.8:
            state = self.chance.choice((MessageState.COMPLETE, MessageState.ERROR))
            return Operation(Op.CLOSE, self.chance.choice(opened), state), b"", 0
        if dice < 0.85 and closed:
            return Operation(Op.REPLACE, self.chance.choice(closed)), word, 0
        if dice < 0.87 and closed:
            return Operation(Op.REMOVE, self.chance.choice(closed)), b"", 0
        key = self.chance.choice("abc")
        if dice < 0.93:
            return Operation(Op.SET, key=key), word, 0
        return Operation(Op.INCREMENT, key="n", by=self.chance.randrange(-5, 6)), b"", 0

    # --- reading ------------------------------------------------------------------------------------------

    def _client(self) -> tuple[Actor, int]:
        self.names += 1
        actor = self.stage.client(f"reader{self.names}")
        return actor, actor.open(ROOM).number

    def attach(self) -> None:
        actor, number = self._client()
        starts: list[dict[str, Any]] = [{"start": "earliest"}, {"start": "latest"}]
        starts += [{"after": self._offset() - 1}, {"last": self.chance.randrange(1, 20)}]
        starts += [{"since_ms": self.time.ms - self.chance.randrange(10_000)}]
        reader = Reader(actor, number, self.chance.random() < 0.2, **self.chance.choice(starts))
        for message, told in self.truth.messages.items():
            if told.place <= reader.after and told.state is not MessageState.OPEN:
                reader.over.add(message)
        self.readers.append(reader)
        if self.chance.random() < 0.5:
            reader.catch_up(self.last)
            assert all(self.over_ms.get(at, 1 << 62) > self.time.ms for at in reader.knowledge.plain)

    def _offset(self) -> int:
        return self.chance.randrange(self.first, self.last + 2)

    def turn_pages(self) -> None:
        """All of history from somewhere on, or from somewhere back; folded, or as it lies there."""
        start, fold_it = self._offset(), self.chance.random() < 0.7
        if self.chance.random() < 0.5:
            records, low, high = self._pages_on(start, fold_it), start, self.last
        else:
            records, low, high = self._pages_back(start, fold_it), self.first, start - 1
        knowledge = Knowledge()
        for record in records:
            knowledge.hear(record)
        plain = {at: data for at, data in self.truth.plain.items() if low <= at <= high and not self._is_over(at)}
        assert knowledge.plain == plain
        for message, told in self.truth.messages.items():
            if fold_it and self.base[message] >= self.first and low <= told.place <= high:
                assert knowledge.messages[message] == told

    def _pages_on(self, low: int, fold_it: bool) -> list[Record]:
        actor, number = self._client()
        records: list[Record] = []
        while low <= self.last:
            actor.send(History(actor.request(), number, self.chance.randrange(1, 9), after=low - 1, fold=fold_it))
            page = actor.expect(Page)
            assert page.low == low <= page.high, "a page goes on where the last one ended"
            records += _meant(page)
            low = page.high + 1
        return records

    def _pages_back(self, before: int, fold_it: bool) -> list[Record]:
        actor, number = self._client()
        records: list[Record] = []
        while before > self.first:
            limit = self.chance.randrange(1, 9)
            actor.send(History(actor.request(), number, limit, before=before, backwards=True, fold=fold_it))
            page = actor.expect(Page)
            assert page.low <= page.high == before - 1, "a page goes on where the last one began"
            records = _meant(page) + records
            before = page.low
        return records

    def ask(self) -> None:
        """For one message, by its number."""
        actor, number = self._client()
        for message, told in self.truth.messages.items():
            if self.base[message] >= self.first and self.chance.random() < 0.2:
                actor.send(Message(actor.request(), number, message))
                page = actor.expect(Page)
                [record] = read_records(page.batches)
                assert record.operation is not None and (page.low, page.high) == (message, told.place)
                assert Told(record.data, record.operation.state, record.offset) == told

    # --- the store ----------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Moves into chunks, what is closed and cold is folded, and what is over is erased."""
        self.time.advance(1_500)
        self.stage.tick()

    def truncate(self) -> None:
        if self.last:
            self.first = max(self.first, self.last - self.chance.randrange(60))
            self.writer.result(Truncate(self.writer.request(), ROOM, self.first))

    def restart(self) -> None:
        self.check()
        self._start(self.stage.crash())

    # --- judging ------------------------------------------------------------------------------------------

    def check(self) -> None:
        for reader in self.readers:
            reader.catch_up(self.last)
            if not reader.overtaken:
                self._compare(reader)

    def _is_over(self, offset: int) -> bool:
        return self.over_ms.get(offset, 1 << 62) <= self.time.ms

    def _compare(self, reader: Reader) -> None:
        known, truth = reader.knowledge, self.truth
        assert known.state == truth.state
        plain = {at: data for at, data in truth.plain.items() if at > reader.after}
        assert {at: data for at, data in plain.items() if at not in self.over_ms or at in known.plain} == known.plain
        for message, told in truth.messages.items():
            since = message > reader.after if reader.raw else told.place > reader.after
            whole = self.base[message] >= self.first and message not in reader.over
            if whole and (since or told.state is MessageState.OPEN):
                assert known.messages.get(message) == told, f"message {message} of a reader after {reader.after}"


def _meant(page: Page) -> list[Record]:
    return [record for record in read_records(page.batches) if page.low <= record.offset <= page.high]


@pytest.fixture(params=["memory", "disk"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    yield MemoryLog() if request.param == "memory" else LmdbLog(tmp_path, 1 << 30)


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("contents_bytes", [1 << 20, 30])
def test_every_interleaving_ends_alike(
    log: Log, run: int, small: bool, contents_bytes: int, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, bounds in SMALL.items() if small else ():
        for name, value in bounds.items():
            monkeypatch.setattr(module, name, value)
    assert clock.now_ms() == time.ms
    with seeded_random() as chance:
        world = World(log, random.Random(chance.getrandbits(32) + run), time, contents_bytes)
        for _ in range(STEPS * FACTOR):
            world.step()
        world.check()
        world.stage.close()
