"""PROTOCOL.md 4.8: a record is given to nobody at or after its time, to the millisecond, whichever way he comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records, spans
from outlast_protocol.frames import Credit, Deliver, Error, History, Page
from outlast_protocol.operations import WHOLE_MAX

from tests.broker.growing import attach, briefs, check_dense, closed, opened, page, plain, say, saying
from tests.broker.stage import Actor, Stage, Time
from tests.broker.test_feeder import Staged

# What comes as 1 to 6, and after how many ms it is over.
TTLS = (100, 0, 200, 100, 0, 10_000)


def subscribed(actor: Actor, number: int) -> bytes:
    actor.subscribe(number)
    return delivered(actor, 6)


def attached(actor: Actor, number: int) -> bytes:
    attach(actor, number)
    return delivered(actor, 6)


def attached_raw(actor: Actor, number: int) -> bytes:
    attach(actor, number, raw=True)
    return delivered(actor, 6)


def delivered(actor: Actor, last: int) -> bytes:
    run = b""
    while not run or reached(run) < last:
        run += actor.expect(Deliver).batches
    return run


def reached(run: bytes) -> int:
    return max(span.last for span in spans(run))


def page_on(actor: Actor, number: int) -> bytes:
    return page(actor, number, start="earliest").batches


def page_on_folded(actor: Actor, number: int) -> bytes:
    return page(actor, number, start="earliest", fold=True).batches


def page_back(actor: Actor, number: int) -> bytes:
    return page(actor, number, backwards=True).batches


def page_back_folded(actor: Actor, number: int) -> bytes:
    return page(actor, number, backwards=True, fold=True).batches


WAYS: list[Callable[[Actor, int], bytes]] = [
    subscribed, attached, attached_raw, page_on, page_on_folded, page_back, page_back_folded,
]  # fmt: skip


@pytest.fixture(params=["tail", "chunks", "swept"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def filled(staged: Staged, place: str) -> tuple[Stage, Actor, int]:
    """A broker with records 1 to 6, in the tail or in chunks."""
    settings = {} if place == "tail" else {"journal_bytes": 1, "journal_age_ms": 0, "fold_after_ms": 10}
    stage: Stage = staged(**settings)
    writer = stage.client("writer")
    number = writer.open("room").number
    for at in (0, 2, 4):
        say(writer, number, *[plain(f"{at + more + 1}", ttl_ms=TTLS[at + more]) for more in range(2)])
    if place != "tail":
        stage.settle("room")
    return stage, writer, number


def left(after_ms: int) -> list[int]:
    return [at for at, ttl_ms in enumerate(TTLS, start=1) if not 0 < ttl_ms <= after_ms]


@pytest.mark.parametrize("after_ms", [0, 99, 100, 199, 200, 10_000])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_over_is_given_to_nobody(
    staged: Staged, time: Time, place: str, way: Callable[[Actor, int], bytes], after_ms: int
) -> None:
    stage, _, number = filled(staged, place)
    time.advance(after_ms)
    if place == "swept":
        stage.tick()
    actor = stage.client("reader")
    actor.open("room")
    run = way(actor, number)
    check_dense(run, 1, 6)
    assert [each.offset for each in briefs(run)] == left(after_ms)


def test_pages_of_one_record_each(staged: Staged, time: Time, place: str) -> None:
    stage, actor, number = filled(staged, place)
    time.advance(100)
    stage.tick()
    given: list[int] = []
    low = 1
    while low <= 6:
        actor.send(History(actor.request(), number, 1, after=low - 1))
        answer = actor.expect(Page)
        given += [each.offset for each in briefs(answer.batches) if low <= each.offset <= answer.high]
        low = answer.high + 1
    assert given == left(100)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("swept", [True, False])
def test_it_is_so_after_a_start(
    staged: Staged, time: Time, place: str, way: Callable[[Actor, int], bytes], swept: bool
) -> None:
    stage, _, number = filled(staged, place)
    time.advance(100)
    if swept:
        stage.tick()
        stage.tick()
    stage = staged(stage.crash())
    actor = stage.client("reader")
    actor.open("room")
    assert [each.offset for each in briefs(way(actor, number))] == left(100)


def test_what_is_given_live_is_not_over_either(staged: Staged, time: Time) -> None:
    """The disk took longer than the record had."""
    stage = staged()
    writer, actor = stage.client("writer"), stage.client("reader")
    number = writer.open("room").number
    actor.open("room")
    actor.subscribe(number)
    for wait_ms, given in ((4, [1, 2]), (5, [4])):
        stage.log.hold()
        writer.send(saying(writer, number, plain("x", ttl_ms=5), plain("y")))
        stage.hold_in_commit()
        time.advance(wait_ms)
        stage.log.go_on()
        run = delivered(actor, given[-1])
        check_dense(run, given[-1] - 1, given[-1])
        assert [each.offset for each in briefs(run)] == given


def test_what_is_over_by_the_time_it_was_read_is_not_given(staged: Staged, time: Time) -> None:
    """The reading thread had others before this one."""
    stage, _, number = filled(staged, "chunks")
    actor = stage.client("reader")
    actor.open("room")
    stage.log.hold_reads()
    actor.subscribe(number)
    stage.until(stage.log.reading.is_set)
    time.advance(100)
    stage.log.go_on_reading()
    assert [each.offset for each in briefs(delivered(actor, 6))] == left(100)
    stage.log.hold_reads()
    actor.send(History(90, number, start="earliest"))
    stage.until(stage.log.reading.is_set)
    time.advance(100)
    stage.log.go_on_reading()
    assert [each.offset for each in briefs(actor.expect(Page).batches)] == left(200)


def test_a_reader_without_credit_is_given_what_is_left_when_it_has_some(staged: Staged, time: Time) -> None:
    stage, _, number = filled(staged, "tail")
    actor = stage.client("reader")
    actor.open("room")
    actor.subscribe(number, credit=0)
    stage.turn()
    assert actor.silent
    time.advance(200)
    actor.send(Credit(number, 1 << 20))
    assert [each.offset for each in briefs(delivered(actor, 6))] == left(200)


def test_a_reader_that_was_behind_comes_from_tiles_to_live_without_a_seam(staged: Staged, time: Time) -> None:
    stage, writer, number = filled(staged, "chunks")
    time.advance(100)
    actor = stage.client("reader")
    actor.open("room")
    actor.subscribe(number)
    run = delivered(actor, 6)
    say(writer, number, plain("7", ttl_ms=1), plain("8"))
    run += delivered(actor, 8)
    check_dense(run, 1, 8)
    assert [each.offset for each in briefs(run)] == [*left(100), 7, 8]


@pytest.mark.parametrize("ttl_ms", [1, WHOLE_MAX])
def test_a_time_may_be_as_short_or_as_long_as_it_can_be_said(staged: Staged, time: Time, ttl_ms: int) -> None:
    stage = staged(MemoryLog(), journal_bytes=1, journal_age_ms=0)
    writer = stage.client("writer")
    number = writer.open("room").number
    say(writer, number, plain("x", ttl_ms=ttl_ms))
    stage.settle("room")
    assert len(read_records(page(writer, number, start="earliest").batches)) == 1
    time.advance(1)
    assert len(read_records(page(writer, number, start="earliest").batches)) == (ttl_ms > 1)
    stage = staged(stage.crash())
    assert stage.channel("room").perishes_ms == 1_700_000_000_000 + ttl_ms


def test_a_record_beside_messages_goes_alone(staged: Staged, time: Time) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0, fold_after_ms=1_000)
    writer = stage.client("writer")
    number = writer.open("room").number
    say(writer, number, opened("a"), plain("b", ttl_ms=50), closed(1), plain("c"))
    stage.settle("room")
    for after_ms, given in ((49, [1, 2, 3, 4]), (1, [1, 3, 4]), (5_000, [3, 4])):
        time.advance(after_ms)
        stage.tick()
        stage.tick()
        answer = page(writer, number, start="earliest")
        check_dense(answer.batches, 1, 4)
        assert [each.offset for each in briefs(answer.batches)] == given


def test_nothing_more_is_looked_through_once_all_is_gone(staged: Staged, time: Time) -> None:
    """History is answered from memory again."""
    stage, writer, number = filled(staged, "chunks")
    time.advance(20_000)
    for _ in range(4):
        stage.tick()
        time.advance(20_000)
    assert not stage.channel("room").perishable
    say(writer, number, plain("7"))
    stage.log.hold_reads()
    writer.send(History(90, number, after=6))
    answer: Any = writer.expect(Page)
    assert [record.offset for record in read_records(answer.batches)] == [7]
    stage.log.go_on_reading()


def test_an_error_is_still_an_error(staged: Staged, time: Time) -> None:
    stage, _, number = filled(staged, "tail")
    actor = stage.client("reader")
    actor.open("room")
    actor.send(History(90, number, after=99))
    assert actor.expect(Error).code == ErrorCode.OFFSET_AHEAD
