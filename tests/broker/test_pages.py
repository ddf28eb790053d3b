"""PROTOCOL.md 6.5 and 6.7."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from outlast_broker import pages
from outlast_broker.channel import Channel
from outlast_broker.chunk import Chunk, make
from outlast_broker.damage import Damaged
from outlast_broker.head import Head
from outlast_broker.log import Rewrite
from outlast_broker.memory_log import MemoryLog
from outlast_broker.pages import PAGE_BYTES, Cut, Start
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.batch import read_records, spans
from outlast_protocol.frames import History, Page, Subscribe, encode
from outlast_protocol.tile import make_tile

from tests.broker.logs import batch, commit, move, with_chunks
from tests.support.bounds import bounded

EPOCH = 0xABC


def refusal(call: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value


def channel(first: int, last: int) -> Channel:
    return Channel(3, Head("room", EPOCH, 1_000, first, last + 1))


def subscribe(**start: Any) -> Subscribe:
    return Subscribe(1, 3, 100, **start)


# --- where to start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [{}, {"after": 1, "last": 1}, {"start": "earliest", "last": 1}, {"since_ms": 1, "after": 0}, {"start": "middle"},
     {"start": ""}, {"start": "latest", "epoch": 5}, {"last": 5, "epoch": 5}, {"epoch": 5},
     {"after": 1, "start": "latest", "last": 1, "since_ms": 1}],
)  # fmt: skip
def test_anything_but_one_start_is_refused(start: dict[str, Any]) -> None:
    for frame in (subscribe(**start), History(1, 3, **start)):
        assert refusal(lambda: pages.check_start(frame)).code is ErrorCode.BAD_BODY  # noqa: B023


@pytest.mark.parametrize(
    "start",
    [{"after": 0}, {"after": 5, "epoch": 0}, {"start": "earliest"}, {"start": "latest"}, {"last": 0}, {"since_ms": 0}],
)
def test_one_start_is_enough(start: dict[str, Any]) -> None:
    pages.check_start(subscribe(**start))
    pages.check_start(History(1, 3, **start))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"start": "earliest"}, Start(10)),
        ({"start": "latest"}, Start(20)),
        ({"last": 0}, Start(20)),
        ({"last": 3}, Start(17)),
        ({"last": 10}, Start(10)),
        ({"last": 500}, Start(10)),
        ({"after": 10}, Start(10)),
        ({"after": 15}, Start(15)),
        ({"after": 20}, Start(20)),
        ({"after": 15, "epoch": EPOCH}, Start(15)),
        ({"after": 9}, Start(10, "trimmed")),
        ({"after": 0}, Start(10, "trimmed")),
        ({"after": 9, "epoch": EPOCH}, Start(10, "trimmed")),
        ({"after": 15, "epoch": EPOCH + 1}, Start(10, "recreated")),
        ({"after": 500, "epoch": EPOCH + 1}, Start(10, "recreated")),
        ({"after": 0, "epoch": 0}, Start(10, "recreated")),
    ],
)
def test_where_a_reader_of_records_11_to_20_starts(start: dict[str, Any], expected: Start) -> None:
    assert pages.start_at(channel(11, 20), subscribe(**start)) == expected
    assert pages.start_at(channel(11, 20), History(1, 3, **start)) == expected


@pytest.mark.parametrize("after", [21, 2**64 - 1])
def test_nobody_can_have_read_beyond_the_last_record(after: int) -> None:
    error = refusal(lambda: pages.start_at(channel(11, 20), subscribe(after=after)))
    assert (error.code, error.detail) == (ErrorCode.OFFSET_AHEAD, {"last": 20})


@pytest.mark.parametrize("start", [{"start": "earliest"}, {"start": "latest"}, {"last": 5}, {"after": 0}])
def test_an_empty_channel_is_read_from_its_beginning(start: dict[str, Any]) -> None:
    assert pages.start_at(channel(1, 0), subscribe(**start)) == Start(0)


def test_history_refuses_what_a_subscription_resyncs() -> None:
    pages.refuse_resync(channel(11, 20), Start(15), 15)
    error = refusal(lambda: pages.refuse_resync(channel(11, 20), Start(10, "trimmed"), 3))
    assert (error.code, error.detail) == (ErrorCode.TRIMMED, {"first": 11})
    error = refusal(lambda: pages.refuse_resync(channel(11, 20), Start(10, "recreated"), 3))
    assert (error.code, error.detail) == (ErrorCode.STALE_EPOCH, {"epoch": "0000000000000abc"})


def test_a_time_starts_before_the_first_batch_that_is_not_older() -> None:
    run = batch(4, "a", "b", time_ms=10) + batch(6, "c", time_ms=20) + batch(7, "d", time_ms=20)
    assert [pages.after_time(run, time_ms) for time_ms in (0, 10, 11, 20)] == [3, 3, 5, 5]


# --- what a page holds ------------------------------------------------------------------------------------

RUNS = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0, 10, 90_000])), min_size=1, max_size=20)


def run_of(shapes: list[tuple[int, int]], first: int) -> list[bytes]:
    """Batches of so many records of such a size."""
    batches = []
    for records, size in shapes:
        batches.append(batch(first, *[bytes(size)] * records))
        first += records
    return batches


def meant(cut: Cut) -> list[int]:
    """The offsets that a reader takes from a page; what lies around them it skips."""
    offsets = [record.offset for record in read_records(cut.batches) if cut.low <= record.offset <= cut.high]
    assert offsets == list(range(cut.low, cut.high + 1)), "a page holds every record that it says it does"
    return offsets


def sized(cut: Cut) -> int:
    """The page's frame must be allowed."""
    return len(encode(Page(1, cut.low, cut.high, 1, 1, cut.batches)))


@bounded(100)
@given(RUNS, st.integers(1, 50), st.integers(0, 40), st.integers(0, 40))
def test_pages_forwards_read_like_a_list(shapes: list[tuple[int, int]], first: int, skip: int, limit: int) -> None:
    batches = run_of(shapes, first)
    last = first + sum(records for records, _ in shapes) - 1
    low = min(first + skip, last)
    parts = [each for each in batches if read_records(each)[-1].offset >= low]
    high = min(low + limit, last)
    found: list[int] = []
    while low <= high:
        cut = pages.forwards(parts, low, high)
        assert cut.low == low and sized(cut)
        found += meant(cut)
        assert cut.high >= low, "a page brings the reader on"
        low = cut.high + 1
    assert found == list(range(min(first + skip, last), high + 1))


@bounded(100)
@given(RUNS, st.integers(1, 50), st.integers(0, 40), st.integers(0, 40))
def test_pages_backwards_read_like_a_list(shapes: list[tuple[int, int]], first: int, skip: int, limit: int) -> None:
    batches = run_of(shapes, first)
    last = first + sum(records for records, _ in shapes) - 1
    high = max(last - skip, first)
    low = max(high - limit, first)
    expected = list(range(low, high + 1))
    found: list[int] = []
    while low <= high:
        cut = pages.backwards(batches, low, high)
        assert cut.high == high and sized(cut)
        found = meant(cut) + found
        assert cut.low <= high, "a page brings the reader on"
        high = cut.low - 1
    assert found == expected


def test_a_page_says_what_it_holds_when_its_bytes_do_not_fit() -> None:
    batches = run_of([(1, 400_000)] * 5, 1)
    assert pages.forwards(batches, 1, 5)[:2] == (1, 2)
    assert pages.backwards(batches, 1, 5)[:2] == (4, 5)


def test_a_batch_is_never_split() -> None:
    batches = run_of([(5, 1)], 1)
    assert pages.forwards(batches, 2, 3) == Cut(2, 3, batches[0])
    assert pages.backwards(batches, 2, 3) == Cut(2, 3, batches[0])


# --- tiles ------------------------------------------------------------------------------------------------


def test_a_time_is_found_inside_of_a_tile() -> None:
    """Tiles bear the time of their last offset; what they hold has times of its own."""
    inner = batch(3, "a", time_ms=30) + batch(6, "b", time_ms=60)
    run = batch(1, "x", time_ms=10) + make_tile(2, 8, 80, inner) + batch(9, "y", time_ms=90)
    asked = {10: 0, 11: 2, 30: 2, 31: 5, 60: 5, 61: 8, 80: 8, 81: 8, 90: 8}
    assert {time_ms: pages.after_time(run, time_ms) for time_ms in asked} == asked


class Rewritten(MemoryLog):
    """A log whose last two chunks become one tile between two reads of them."""

    def read_back(self, number: int, offset: int) -> Chunk | None:
        found = super().read_back(number, offset)
        if found is not None and (found.first, found.last) == (5, 6):
            commit(self, Rewrite(number, [3, 5], [make([make_tile(3, 6, 7, batch(4, "x", time_ms=7))])]))
        return found


def test_a_store_that_is_folded_while_a_page_is_read_gives_nothing_twice() -> None:
    log = Rewritten()
    number = with_chunks(log, "a", 3)
    run = b"".join(pages.read_back(log, number, 1, 6))
    assert [(span.offset, span.last) for span in spans(run)] == [(1, 2), (3, 6)]


# --- reading for a page -----------------------------------------------------------------------------------


def test_reading_on_stops_at_the_last_record_meant() -> None:
    log = MemoryLog()
    number = with_chunks(log, "a", 10)
    assert pages.read_on(log, number, 4, 7) == [chunk.batches for chunk in log.read(number, 3, 1 << 30)[:3]]


def test_reading_back_stops_at_the_first_record_meant() -> None:
    log = MemoryLog()
    number = with_chunks(log, "a", 10)
    assert pages.read_back(log, number, 4, 7) == [chunk.batches for chunk in log.read(number, 3, 1 << 30)[:3]]
    assert pages.read_back(log, number, 1, 20) == [chunk.batches for chunk in log.read(number, 1, 1 << 30)]


def test_a_record_that_should_be_there_is_missed_aloud() -> None:
    log = MemoryLog()
    number = with_chunks(log, "a", 2)
    for read in (pages.read_on, pages.read_back):
        with pytest.raises(Damaged):
            read(log, number, 5, 6)


def test_reading_back_stops_when_a_page_is_full() -> None:
    log = MemoryLog()
    number = with_chunks(log, "a", 1)
    commit(log, move(number, *[batch(3 + at, bytes(PAGE_BYTES // 2)) for at in range(6)]))
    found = b"".join(pages.read_back(log, number, 1, 8))
    assert [record.offset for record in read_records(found)] == [7, 8]
