"""Slow readers harm nobody, and get everything (promise 5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from outlast_broker.damage import Damaged
from outlast_broker.feeder import SLICE_BYTES
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import (
    Credit,
    Deliver,
    Error,
    Ping,
    Pong,
    Published,
    Resync,
    Subscribed,
    Truncate,
    Unsubscribe,
)

from tests.broker.stage import Actor, Stage, Time

KIB = 1 << 10
Staged = Callable[..., Stage]


def filled(stage: Stage, count: int, size: int = 10 * KIB, name: str = "room", move: bool = True) -> int:
    """The number of a channel with records "1", "2", ... of such a size: in chunks, or in the tail."""
    writer = stage.client("writer")
    number = writer.open(name).number
    writer.send(*[writer.publishing(number, str(1 + at).ljust(size)) for at in range(count)])
    writer.expect(Published)
    if move:
        stage.settle(name)
    writer.leave()
    return number


def reader(stage: Stage, *names: str) -> Actor:
    actor = stage.client("reader")
    for name in names:
        actor.open(name)
    return actor


@pytest.fixture
def quick(staged: Staged) -> Stage:
    """Everything moves into chunks as soon as there is a reason to commit."""
    return staged(journal_age_ms=0)


@pytest.mark.parametrize("move", [True, False])
def test_a_reader_gets_everything_from_the_log_in_order(quick: Stage, move: bool) -> None:
    number = filled(quick, 200, move=move)
    alice = reader(quick, "room")
    alice.subscribe(number, 1 << 30)
    assert [int(record.data) for record in alice.records(200)] == list(range(1, 201))
    assert alice.silent


def test_a_reader_goes_from_chunks_to_tail_to_live_without_a_seam(time: Time, staged: Staged) -> None:
    stage = staged(journal_age_ms=1_000)
    number = filled(stage, 60, move=False)
    time.advance(1_000)
    stage.settle("room")
    filled(stage, 60, move=False)
    alice = reader(stage, "room")
    alice.subscribe(number, 1 << 30)
    filled(stage, 5, move=False)
    assert [record.offset for record in alice.records(125)] == list(range(1, 126))
    filled(stage, 1, move=False)
    assert [record.offset for record in alice.records(126)] == [126]


def test_a_slice_is_bounded(quick: Stage) -> None:
    number = filled(quick, 200)
    alice = reader(quick, "room")
    alice.subscribe(number, 1 << 30)
    sizes: list[int] = []
    while not sizes or sum(sizes) < 200 * 10 * KIB:
        sizes.append(len(alice.expect(Deliver).batches))
    assert max(sizes) <= SLICE_BYTES + 64 * KIB


# --- credit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [True, False])
def test_what_is_sent_is_the_credit_and_one_frame_more(quick: Stage, move: bool) -> None:
    number = filled(quick, 100, 20 * KIB, move=move)
    alice = reader(quick, "room")
    alice.subscribe(number, 300 * KIB)
    frames = 0
    while alice.came or frames < 300 * KIB:
        frames += 16 + len(alice.expect(Deliver).batches)
        quick.turn()
    assert 300 * KIB <= frames < 300 * KIB + SLICE_BYTES + 64 * KIB
    alice.send(Ping(1))
    alice.expect(Pong)


def test_credit_of_one_byte_is_good_for_one_frame(quick: Stage) -> None:
    """Even where the log's next slice holds more than a frame may."""
    number = filled(quick, 4, 700 * KIB)
    alice = reader(quick, "room")
    alice.subscribe(number, 1)
    got = [record.offset for record in read_records(alice.expect(Deliver).batches)]
    quick.idle()
    alice.send(Ping(1))
    alice.expect(Pong)
    while got[-1] < 4:
        alice.send(Credit(number, 1 << 20))
        got += [record.offset for record in read_records(alice.expect(Deliver).batches)]
    assert got == [1, 2, 3, 4]


def test_no_credit_no_delivery(quick: Stage) -> None:
    number = filled(quick, 5)
    alice = reader(quick, "room")
    alice.subscribe(number, 0)
    filled(quick, 1)
    alice.send(Ping(1))
    alice.expect(Pong)
    alice.send(Credit(number, 1))
    assert alice.records(1)[0].offset == 1


# --- clogged sockets --------------------------------------------------------------------------------------


def test_a_clogged_reader_is_not_read_for(quick: Stage) -> None:
    number = filled(quick, 200)
    alice = reader(quick, "room")
    quick.call(alice.connection.clog)
    quick.log.reading.clear()
    alice.send(alice.subscribing(number, 1 << 30))
    quick.idle()
    assert not quick.log.reading.is_set() and alice.wire.paused
    quick.call(alice.connection.unclog)
    assert not alice.wire.paused
    alice.expect(Subscribed)
    assert [record.offset for record in alice.records(200)] == list(range(1, 201))


def test_a_live_reader_that_clogs_falls_behind_and_catches_up(quick: Stage) -> None:
    number = filled(quick, 1)
    alice = reader(quick, "room")
    alice.subscribe(number, 1 << 30)
    alice.records(1)
    quick.call(alice.connection.clog)
    for _ in range(20):
        filled(quick, 10)
    clogged = sum(map(len, alice.wire.written))
    assert clogged < 150 * KIB, "at most what was under way when it clogged"
    quick.call(alice.connection.unclog)
    assert [record.offset for record in alice.records(201)] == list(range(2, 202))


def test_a_clogged_reader_does_not_hold_up_another(quick: Stage) -> None:
    number = filled(quick, 100)
    stalled, swift = reader(quick, "room"), reader(quick, "room")
    quick.call(stalled.connection.clog)
    stalled.send(stalled.subscribing(number, 1 << 30))
    swift.subscribe(number, 1 << 30)
    assert len(swift.records(100)) == 100


def test_readers_of_one_connection_take_turns(quick: Stage) -> None:
    first, second = filled(quick, 100, name="a"), filled(quick, 100, name="b")
    alice = reader(quick, "a", "b")
    alice.send(alice.subscribing(first, 1 << 30), alice.subscribing(second, 1 << 30))
    order: list[int] = []
    records = 0
    while records < 200:
        quick.until(lambda: not alice.silent, alice.wire.arrived)
        frame = alice.came.pop(0)
        if isinstance(frame, Deliver):
            order.append(frame.number)
            records += len(read_records(frame.batches))
    turns = [number for number, _ in groupby(order)]
    assert len(turns) >= 6, "neither waits until the other has everything"


# --- things that happen meanwhile -------------------------------------------------------------------------


def test_a_reader_that_is_overtaken_by_trimming_is_told(quick: Stage) -> None:
    number = filled(quick, 100)
    alice, operator = reader(quick, "room"), quick.client("operator")
    epoch = alice.subscribe(number, 1).epoch
    alice.expect(Deliver)
    operator.result(Truncate(operator.request(), "room", 91))
    alice.send(Credit(number, 1 << 30))
    assert alice.expect(Resync) == Resync(number, "trimmed", 90, epoch)
    assert [record.offset for record in alice.records(100) if record.offset > 90] == list(range(91, 101))


def test_trimming_while_its_chunks_are_read_is_noticed(quick: Stage) -> None:
    number = filled(quick, 100)
    alice, operator = reader(quick, "room"), quick.client("operator")
    quick.log.hold_reads()
    epoch = alice.subscribe(number, 1 << 30).epoch
    quick.turn()
    assert quick.log.reading.wait(5)
    operator.result(Truncate(operator.request(), "room", 91))
    quick.log.go_on_reading()
    assert alice.expect(Resync) == Resync(number, "trimmed", 90, epoch)
    assert [record.offset for record in alice.records(100) if record.offset > 90] == list(range(91, 101))


def test_a_reader_that_leaves_while_its_chunks_are_read_gets_nothing_more(quick: Stage) -> None:
    number = filled(quick, 100)
    alice = reader(quick, "room")
    quick.log.hold_reads()
    alice.subscribe(number, 1 << 30)
    quick.turn()
    assert quick.log.reading.wait(5)
    alice.result(Unsubscribe(alice.request(), number))
    quick.log.go_on_reading()
    again = alice.subscribe(number, 1 << 30, last=1)
    assert again.after == 99
    assert [record.offset for record in alice.records(100) if record.offset > 99] == [100]


def test_a_connection_that_closes_while_its_chunks_are_read_is_forgotten(quick: Stage) -> None:
    number = filled(quick, 100)
    alice = reader(quick, "room")
    quick.log.hold_reads()
    alice.subscribe(number, 1 << 30)
    quick.turn()
    assert quick.log.reading.wait(5)
    alice.leave()
    quick.log.go_on_reading()
    quick.idle()
    assert alice.silent and quick.channel("room").readers == set()


class Torn(MemoryLog):
    """A log that one channel cannot be read from any more."""

    torn = 0

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        if number == self.torn:
            raise Damaged(f"a chunk of channel number {number} fails its checksum")
        return super().read(number, offset, bytes_max)


def test_damage_ends_this_subscription_and_no_other(staged: Staged) -> None:
    log = Torn()
    stage = staged(log, journal_age_ms=0)
    torn, whole = filled(stage, 5, name="torn"), filled(stage, 5, name="whole")
    log.torn = torn
    alice = reader(stage, "torn", "whole")
    alice.subscribe(torn)
    error = alice.expect(Error)
    assert (error.request, error.code, error.detail) == (0, ErrorCode.DAMAGED, {"number": torn})
    alice.subscribe(whole)
    assert len(alice.records(5)) == 5
    alice.refused(Unsubscribe(alice.request(), torn), ErrorCode.NOT_SUBSCRIBED)
    assert stage.engine.counters.damaged == 1


class Hollow(MemoryLog):
    """A log that has lost a channel's first chunk."""

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        return super().read(number, offset, bytes_max)[1:]


def test_a_hole_is_never_skipped(staged: Staged) -> None:
    stage = staged(Hollow(), journal_age_ms=0)
    number = filled(stage, 20)
    alice = reader(stage, "room")
    alice.subscribe(number)
    assert alice.expect(Error).code == ErrorCode.DAMAGED
    alice.send(Ping(1))
    alice.expect(Pong)


class Broken(MemoryLog):
    """A log whose reads fail in a way that nobody foresaw."""

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        raise RuntimeError("nobody foresaw this")


def test_a_read_that_fails_otherwise_is_said_too(staged: Staged) -> None:
    """A reader must not wait for ever for what will not come."""
    stage = staged(Broken(), journal_age_ms=0)
    number = filled(stage, 5)
    alice = reader(stage, "room")
    alice.subscribe(number)
    assert alice.expect(Error).code in (ErrorCode.DAMAGED, ErrorCode.INTERNAL)
