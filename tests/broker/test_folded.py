"""Reading folded (PROTOCOL.md 6.10): forwards, pages both ways, the last so many, one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker import folded, stretches
from outlast_broker.damage import Damaged
from outlast_broker.folded import Hole
from outlast_broker.log import Cut, Log
from outlast_broker.memory_log import MemoryLog
from outlast_broker.pages import PAGE_BYTES
from outlast_broker.session import Growing
from outlast_protocol.batch import read_records
from outlast_protocol.operations import MessageState, Op

from tests.broker.growing import (
    Kept,
    Row,
    batches_of,
    briefs,
    check_dense,
    closed,
    grown,
    opened,
    plain,
    put,
)
from tests.broker.logs import BIRTH_MS, commit

# Messages 2 (closed at 6) and 4 (open, latest at 9) among plain records: what is given lies at 1, 3, 6, 8, 9, 10.
TALK: list[list[Row]] = [
    [plain("a")], [opened("b")], [plain("c")], [opened("d")], [grown(2, "e")], [closed(2)], [grown(4, "f")],
    [put("key", "g")], [grown(4, "h")], [plain("i")],
]  # fmt: skip
GIVEN = [(1, None, b"a"), (3, None, b"c"), (6, Op.FOLDED, b"be"), (8, Op.SET, b"g"), (9, Op.FOLDED, b"dfh"),
         (10, None, b"i")]  # fmt: skip


@pytest.fixture(params=[0, 4, 10], ids=["in the tail", "in both", "in chunks"])
def stored(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[True, False], ids=["memory", "no memory"])
def memory(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def talk(stored: int, per_chunk: int = 2) -> Kept:
    return Kept(MemoryLog(), batches_of(*TALK), stored, per_chunk)


def test_forwards_gives_each_message_once(stored: int, memory: bool) -> None:
    kept = talk(stored)
    for low in range(1, 11):
        cut = folded.forwards(kept.log, kept.seen(low, 1 << 20, memory), low, 1 << 20)
        assert (cut.low, cut.high) == (low, 10)
        check_dense(cut.batches, low, 10)
        assert briefs(cut.batches) == [each for each in GIVEN if each[0] >= low]


def test_slices_follow_each_other_without_a_seam(stored: int, memory: bool) -> None:
    kept = talk(stored)
    low, run = 1, b""
    while low <= 10:
        cut = folded.forwards(kept.log, kept.seen(low, 1, memory), low, 1)
        run, low = run + cut.batches, cut.high + 1
    check_dense(run, 1, 10)
    assert briefs(run) == GIVEN


def test_a_slice_ends_where_the_part_of_the_tail_ends_that_was_handed_over() -> None:
    """Batches that do not divide the slice evenly, and a stretch that is passed over with next to no bytes."""
    large = Kept(MemoryLog(), batches_of(*[[plain("x" * 1_000)] for _ in range(5)]), 0)
    cut = folded.forwards(large.log, large.seen(1, 2_500), 1, 2_500)
    assert (cut.low, cut.high) == (1, 2)
    tokens = [[grown(1, "t")] for _ in range(stretches.OFFSETS_MIN)]
    kept = Kept(MemoryLog(), batches_of([opened("")], *tokens, [plain("x")]), 0)
    cut = folded.forwards(kept.log, kept.seen(1, 1_000), 1, 1_000)
    check_dense(cut.batches, 1, stretches.OFFSETS_MIN + 2)
    assert [each.op for each in briefs(cut.batches)] == [Op.FOLDED, None]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_pages_on(stored: int, memory: bool, limit: int) -> None:
    kept = talk(stored)
    for low in range(1, 11):
        cut = folded.page_on(kept.log, kept.seen(low, 1 << 20, memory), low, limit)
        expected = [each for each in GIVEN if each[0] >= low]
        assert briefs(cut.batches) == expected[:limit], "what is meant, and no record more"
        assert cut.low == low
        assert cut.high == (expected[limit - 1][0] if len(expected) > limit else 10)


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_pages_back(stored: int, memory: bool, limit: int) -> None:
    kept = talk(stored)
    for high in range(1, 11):
        cut = folded.page_back(kept.log, kept.seen(0, None, memory), high, limit)
        expected = [each for each in GIVEN if each[0] <= high]
        got = briefs(cut.batches)
        assert got == expected[len(expected) - len(got) :] and len(got) == min(limit, len(expected))
        assert cut.high == high and cut.low <= got[0][0]


@pytest.mark.parametrize(("last", "after"), [(1, 9), (2, 8), (3, 7), (4, 5), (5, 2), (6, 0), (7, 0), (100, 0)])
def test_where_the_last_so_many_begin(stored: int, memory: bool, last: int, after: int) -> None:
    kept = talk(stored)
    seen = kept.seen(0, None, memory)
    assert folded.after_last(kept.log, seen, last) == after
    assert briefs(folded.page_last(kept.log, seen, last, 100).batches) == GIVEN[-last:]


def test_a_page_holds_no_more_than_fits_into_a_frame() -> None:
    kept = Kept(MemoryLog(), batches_of(*[[plain("x" * 400_000)] for _ in range(6)]), 4)
    cut = folded.page_on(kept.log, kept.seen(1, 1 << 23), 1, 100)
    assert (cut.low, cut.high) == (1, 2) and len(cut.batches) <= PAGE_BYTES
    cut = folded.page_back(kept.log, kept.seen(0), 6, 100)
    assert (cut.low, cut.high) == (5, 6) and len(cut.batches) <= PAGE_BYTES


# --- stretches --------------------------------------------------------------------------------------------


def long_talk(messages: int, size: int, memory: bool = True) -> Kept:
    """Messages that are opened and closed, one after the other; nothing else."""
    rows: list[list[Row]] = []
    for at in range(messages):
        rows += [[opened("x" * size)], [grown(3 * at + 1, "y")], [closed(3 * at + 1)]]
    return Kept(MemoryLog(), batches_of(*rows), 0)


def test_a_stretch_is_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = long_talk(50, 10)
    for read in ("_run", "_tail_back", "_chunk_back"):
        monkeypatch.setattr(folded, read, lambda *args: pytest.fail("it was gone through"))
    seen = kept.seen(1, 1 << 20)
    run = folded.forwards(kept.log, seen, 1, 1 << 20).batches
    check_dense(run, 1, 150)
    assert [each.offset for each in briefs(run)] == list(range(3, 151, 3))
    assert folded.after_last(kept.log, seen, 7) == 150 - 19
    assert [each.offset for each in briefs(folded.page_back(kept.log, seen, 149, 2).batches)] == [144, 147]


def test_a_stretch_of_many_messages_is_given_a_part_at_a_time() -> None:
    """What is closed and not folded yet may be much more than a reader is to have under way."""
    kept = long_talk(60, 10_000)
    cut = folded.forwards(kept.log, kept.seen(1, 50_000), 1, 50_000)
    assert len(cut.batches) < 70_000 and cut.high % 3 == 0
    check_dense(cut.batches, 1, cut.high)
    assert [briefs(cut.batches)[-1].offset] == [cut.high]


def test_the_last_so_many_need_no_more_than_those(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = long_talk(60, 10_000)
    asked: list[int] = []
    content_of = folded.content_of
    monkeypatch.setattr(folded, "content_of", lambda *args: asked.append(args[2].message) or content_of(*args))
    assert folded.after_last(kept.log, kept.seen(0), 3) == 173
    assert len(asked) == 3


def test_nothing_is_passed_over_once_a_message_cannot_be_given_whole() -> None:
    kept = long_talk(50, 10)
    kept.channel.first = 5
    seen = kept.seen(5, None, memory=False)
    assert seen.stretches == () and 4 not in seen.growing and 7 in seen.growing


# --- what retention, folding and damage do meanwhile ------------------------------------------------------


def test_what_lost_its_beginning_is_given_as_it_lies_there() -> None:
    kept = talk(10)
    kept.channel.first = 5
    seen = kept.seen(5, None, memory=False)
    run = folded.forwards(kept.log, seen, 5, 1 << 20).batches
    assert [each.op for each in briefs(run)] == [Op.APPEND, Op.CLOSE, Op.APPEND, Op.SET, Op.APPEND, None]


def test_what_is_in_memory_needs_no_beginning() -> None:
    kept = talk(10)
    kept.channel.first = 5
    run = folded.forwards(kept.log, kept.seen(5), 5, 1 << 20).batches
    assert briefs(run) == [each for each in GIVEN if each[0] >= 5]


READS: list[Callable[[Log, Any], Any]] = [
    lambda log, seen: folded.forwards(log, seen, 1, 1 << 20),
    lambda log, seen: folded.page_on(log, seen, 1, 100),
    lambda log, seen: folded.page_back(log, seen, 10, 100),
    lambda log, seen: folded.after_last(log, seen, 100),
    lambda log, seen: folded.message_page(log, seen, seen.growing[2]),
]


@pytest.mark.parametrize("read", READS)
def test_a_hole_is_never_passed_over_in_silence(read: Callable[[Log, Any], Any]) -> None:
    kept = talk(10)
    seen = kept.seen(0, None, memory=False)
    commit(kept.log, Cut(kept.number, 5))
    with pytest.raises(Hole):
        read(kept.log, seen)


class Torn(MemoryLog):
    """A log that has lost a chunk from the middle."""

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        return [each for each in super().read(number, offset, bytes_max) if each.first != 5]


@pytest.mark.parametrize("read", READS[:2])
def test_a_chunk_that_is_missing_between_others_is_a_hole(read: Callable[[Log, Any], Any]) -> None:
    kept = Kept(Torn(), batches_of(*TALK), 10, 2)
    with pytest.raises(Damaged):
        read(kept.log, kept.seen(1, 1 << 20))


def test_what_went_on_and_was_folded_further_along_is_not_given_here() -> None:
    """The reader attached when message 2 was closed at 6; in the store it is folded at 11, for it was changed."""
    rows = [[plain("a")], [plain("b")]]
    kept = Kept(MemoryLog(), batches_of(*rows), 2)
    growing = Growing(1, "agent", "", 1, MessageState.COMPLETE, 3, 2, BIRTH_MS, 1, 1)
    seen = kept.seen(1)._replace(growing={1: growing}, contents={})
    assert folded.message_page(kept.log, seen, growing) is None
    assert briefs(folded.forwards(kept.log, seen, 1, 1 << 20).batches) == [(1, None, b"a"), (2, None, b"b")]


# --- one message ------------------------------------------------------------------------------------------


def test_one_message_is_a_page_of_its_own(stored: int, memory: bool) -> None:
    kept = talk(stored)
    seen = kept.seen(0, None, memory)
    for message, place, content in ((2, 6, b"be"), (4, 9, b"dfh")):
        cut = folded.message_page(kept.log, seen, seen.growing[message])
        assert cut is not None and (cut.low, cut.high) == (message, place)
        [record] = read_records(cut.batches)
        assert (record.offset, record.data) == (place, content)


# --- times to live ----------------------------------------------------------------------------------------


def test_what_is_over_by_the_time_it_is_given_is_left_out() -> None:
    rows = [[plain("a", ttl_ms=10), plain("b", ttl_ms=20), plain("c")]]
    kept = Kept(MemoryLog(), batches_of(*rows), 1)
    kept.channel.perishes_ms = BIRTH_MS + 20
    cut = folded.forwards(kept.log, kept.seen(1, 1_000), 1, 1_000)
    assert cut.over_ms == BIRTH_MS + 10
    for now_ms, left in ((BIRTH_MS + 9, 3), (BIRTH_MS + 10, 2), (BIRTH_MS + 19, 2), (BIRTH_MS + 20, 1)):
        run = folded.current(cut, now_ms)
        check_dense(run, 1, 3)
        assert len(briefs(run)) == left
