"""PROTOCOL.md 4.7: what is left of a run, and that it stands for the same offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, strategies as st
from outlast_broker import fold
from outlast_broker.fold import TILE_BYTES, Sight, assemble, folded_batch, passed_over, perishing, still
from outlast_broker.session import Growing
from outlast_broker.sweep import Perishing
from outlast_protocol import Record
from outlast_protocol.batch import KIND_AT, KIND_TILE, encode_labelled, read_records, spans
from outlast_protocol.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX
from outlast_protocol.operations import MessageState, Op
from outlast_protocol.tile import make_tile

from tests.broker.growing import (
    Alone,
    Row,
    batch,
    briefs,
    check_dense,
    closed,
    folded,
    grown,
    opened,
    plain,
    put,
    removed,
    replaced,
)
from tests.broker.logs import BIRTH_MS
from tests.support.bounds import bounded
from tests.support.knowledge import Knowledge

COMPLETE = MessageState.COMPLETE
PAGE_HEAD_BYTES = 44


def run_of(*batches: list[Row], times: Mapping[int, int] | None = None) -> bytes:
    """The batches, stamped one after the other from offset 1 on."""
    parts, offset = [], 1
    for index, rows in enumerate(batches):
        parts.append(batch(offset, *rows, time_ms=BIRTH_MS + (times or {}).get(index, index)))
        offset += len(rows)
    return b"".join(parts)


def sight_of(run: bytes, now_ms: int = BIRTH_MS) -> Sight:
    """All messages of the run, as of its end."""
    alone = Alone(contents_bytes=1 << 24)
    for span in spans(run):
        records = read_records(run[span.start : span.end])
        assert alone.session.recover(records) is not None
    content = alone.session.content
    return Sight(alone.session.durable.messages, lambda growing: bytes(content[growing.message]), now_ms)


def folded_run(run: bytes) -> bytes:
    return fold.fold(run, sight_of(run))


# --- messages ---------------------------------------------------------------------------------------------


def test_a_message_is_one_record_at_its_place() -> None:
    run = run_of([opened("He", "name", {"k": "v"})], [grown(1, "l")], [grown(1, "lo")], [closed(1, COMPLETE, "done")])
    [record] = read_records(folded_run(run))
    assert (record.offset, record.time_ms, record.client_id) == (4, BIRTH_MS + 3, "agent")
    assert (record.name, record.headers, record.encoding, record.data) == ("name", {"k": "v"}, 1, b"Hello")
    assert record.operation is not None
    operation = record.operation
    assert (operation.op, operation.message, operation.state, operation.reason) == (Op.FOLDED, 1, COMPLETE, "done")


def test_what_is_no_message_stays_as_it_is() -> None:
    run = run_of([plain("a"), plain("b")], [put("key", "v")], [plain("c")])
    assert folded_run(run) == run


def test_what_is_left_stands_for_the_same_offsets() -> None:
    run = run_of([plain("a")], [opened("b")], [grown(2, "c")], [plain("d")], [closed(2)], [plain("e")])
    left = folded_run(run)
    check_dense(left, 1, 6)
    assert briefs(left) == [(1, None, b"a"), (4, None, b"d"), (5, Op.FOLDED, b"bc"), (6, None, b"e")]


def test_messages_of_one_batch_come_apart() -> None:
    run = run_of([opened("a"), opened("b"), plain("x"), grown(1, "c"), grown(2, "d"), closed(1), plain("y"), closed(2)])
    left = folded_run(run)
    check_dense(left, 1, 8)
    assert briefs(left) == [(3, None, b"x"), (6, Op.FOLDED, b"ac"), (7, None, b"y"), (8, Op.FOLDED, b"bd")]


def test_an_open_message_is_folded_as_of_its_latest_operation() -> None:
    run = run_of([opened("a")], [plain("x")], [grown(1, "b")], [plain("y")])
    left = folded_run(run)
    assert briefs(left) == [(2, None, b"x"), (3, Op.FOLDED, b"ab"), (4, None, b"y")]
    check_dense(left, 1, 4)


def test_what_a_sight_does_not_know_is_left() -> None:
    run = run_of([opened("a")], [opened("b")], [grown(1, "c")], [grown(2, "d")])
    sight = sight_of(run)
    only = sight._replace(growing={2: sight.growing[2]})
    assert briefs(fold.fold(run, only)) == [(1, Op.OPEN, b"a"), (3, Op.APPEND, b"c"), (4, Op.FOLDED, b"bd")]


def test_operations_behind_the_sight_are_left() -> None:
    """Who attached before them is given them one by one."""
    run = run_of([opened("a")], [grown(1, "b")])
    later = run + batch(3, grown(1, "c"))
    assert briefs(fold.fold(later, sight_of(run))) == [(2, Op.FOLDED, b"ab"), (3, Op.APPEND, b"c")]


def test_what_cannot_be_given_any_more_is_met_further_along() -> None:
    run = run_of([opened("a")], [grown(1, "b")])
    left = fold.fold(run, sight_of(run)._replace(content=lambda growing: None))
    check_dense(left, 1, 2)
    assert briefs(left) == []


def test_a_folded_record_is_kept_at_its_place_and_goes_when_the_message_went_on() -> None:
    run = run_of([plain("x")], [folded(1, "old")], [replaced(1, "new")])
    at_its_place = Growing(1, "agent", "", 1, COMPLETE, 3, 2, BIRTH_MS, 2, 2)
    left = fold.fold(run[: len(batch(1, plain("x")))] + batch(2, folded(1, "old")), Sight({1: at_its_place}, _none, 0))
    assert briefs(left)[1] == (2, Op.FOLDED, b"old")
    went_on = at_its_place._replace(place=3, base=3)
    left = fold.fold(run, Sight({1: went_on}, lambda growing: b"new", 0))
    assert briefs(left) == [(1, None, b"x"), (3, Op.FOLDED, b"new")]


def _none(growing: Growing) -> bytes | None:
    return None


# --- tiles ------------------------------------------------------------------------------------------------


def tiles(run: bytes) -> list[bool]:
    return [run[span.start + KIND_AT] == KIND_TILE for span in spans(run)]


def test_tiles_are_let_go_of_before_they_grow_large() -> None:
    tokens = [[grown(1, "x")] for _ in range(50)]
    run = run_of([opened("")], *tokens, *[[plain("y" * 1_000)] for _ in range(200)], [closed(1)])
    left = folded_run(run)
    check_dense(left, 1, 252)
    assert max(span.end - span.start for span in spans(left)) <= TILE_BYTES + 2_000


def test_a_tile_stands_for_no_more_offsets_than_it_can_count() -> None:
    gaps = [make_tile(at * 2**31 + 1, (at + 1) * 2**31, BIRTH_MS, b"") for at in range(5)]
    left = fold.fold(b"".join(gaps), Sight({}, _none, 0))
    check_dense(left, 1, 5 * 2**31)
    assert len(list(spans(left))) == 5


def test_what_has_no_gap_has_no_tile() -> None:
    large = [plain("y" * 20_000)]
    run = run_of([opened("")], [closed(1)], large, large, large, large)
    assert tiles(folded_run(run)) == [True, False, False, False], "the first goes with the gap before it"


def test_folding_again_changes_nothing() -> None:
    run = run_of([plain("a")], [opened("b")], *[[grown(2, "c"), plain("d" * 700)] for _ in range(200)], [closed(2)])
    once = folded_run(run)
    assert fold.fold(once, Sight({}, _none, 0)) == once
    assert fold.fold(once, sight_of(run)) == once


def test_a_tiles_time_is_that_of_its_last_offset() -> None:
    run = run_of([plain("a" * 30_000)], [opened("b")], [plain("c" * 30_000)], [closed(2)], [plain("d" * 30_000)])
    times = {record.offset: record.time_ms for record in read_records(run)}
    for span in spans(folded_run(run)):
        assert span.time_ms == times[span.last]


@pytest.mark.parametrize("data_bytes", [BATCH_BYTES_MAX, BATCH_BYTES_MAX - 40, BATCH_BYTES_MAX - 1_000])
@pytest.mark.parametrize("gone", ["before", "behind", "in the batch", "around"])
def test_the_largest_batch_beside_a_gap_still_fits_into_a_frame(data_bytes: int, gone: str) -> None:
    """PAGE has the longer head of the two frames that carry it."""
    over, room = [plain("x", ttl_ms=1)], data_bytes - len(batch(1, plain("")))
    batches = {
        "before": [over, [plain(b"y" * room)]],
        "behind": [[plain(b"y" * room)], over],
        "around": [over, [plain(b"y" * room)], over],
        "in the batch": [[plain("x", ttl_ms=1), plain(b"y" * (room - 40))]],
    }[gone]
    run = run_of(*batches)
    left = still(run, BIRTH_MS + 9)
    check_dense(left, 1, sum(map(len, batches)))
    assert len(read_records(left)) == 1
    assert max(span.end - span.start for span in spans(left)) + PAGE_HEAD_BYTES <= FRAME_BYTES_MAX


def test_a_batch_that_falls_to_pieces_is_several_tiles() -> None:
    """A message's every other token stays: each needs a head of its own, and one tile for all would fill no frame."""
    rows = [opened(""), opened("")] + [grown(1 + at % 2, "x") for at in range(BATCH_RECORDS_MAX - 2)]
    run = batch(1, *rows, client="c" * 128)
    sight = sight_of(run)
    left = fold.fold(run, sight._replace(growing={1: sight.growing[1]}))
    check_dense(left, 1, BATCH_RECORDS_MAX)
    assert max(span.end - span.start for span in spans(left)) <= TILE_BYTES + 1_000 + len("x") * BATCH_RECORDS_MAX
    assert len(read_records(left)) == BATCH_RECORDS_MAX // 2 + 1


def test_the_longest_message_fits_into_a_frame() -> None:
    headers = {f"{at:02}" * 3: "v" * 3_000 for at in range(64)}
    size = sum(len(k) + len(v) for k, v in headers.items()) + 255
    growing = Growing(
        2**62, "c" * 128, "", 0, COMPLETE, 1, 2**62 + 9, BIRTH_MS, 1, 1, "\ufffd" * 4_096, "n" * 255, headers
    )
    content = bytes(MESSAGE_BYTES_MAX - size)
    assert read_records(folded_batch(growing, content))[0].headers == headers
    left = passed_over(2**62, 2**62 + 20, BIRTH_MS, [growing], lambda each: content)
    assert max(span.end - span.start for span in spans(left)) + PAGE_HEAD_BYTES <= FRAME_BYTES_MAX


# --- a part of a run --------------------------------------------------------------------------------------


def test_what_lies_outside_is_left_out_of_tiles_too() -> None:
    run = run_of([plain("a")], [opened("b")], [plain("c")], [closed(2)], [plain("d")], [plain("e")])
    whole = folded_run(run)
    for low in range(1, 7):
        for high in range(low, 7):
            part = fold.fold(whole, Sight({}, _none, 0), low, high)
            check_dense(part, low, high)
            assert briefs(part) == [each for each in briefs(whole) if low <= each.offset <= high]


def test_what_is_met_twice_is_given_once() -> None:
    """The store was folded while a run was read: a tile begins before the batches end that were read already."""
    run = run_of([plain("a")], [opened("b")], [plain("c")], [closed(2)], [plain("d")])
    ends = [span.end for span in spans(run)]
    tile = folded_run(run)
    for met in range(1, 5):
        part = fold.fold(run[: ends[met - 1]] + tile, sight_of(run))
        check_dense(part, 1, 5)
        assert briefs(part) == briefs(tile)


# --- times to live ----------------------------------------------------------------------------------------


def test_what_is_over_goes_to_the_millisecond() -> None:
    run = run_of([plain("a", ttl_ms=5), plain("b", ttl_ms=6), plain("c")], [plain("d", ttl_ms=5)], times={1: 2})
    expected = {4: b"abcd", 5: b"bcd", 6: b"cd", 7: b"c", 10**9: b"c"}
    for after_ms, left in expected.items():
        seen = still(run, BIRTH_MS + after_ms)
        check_dense(seen, 1, 4)
        assert b"".join(record.data for record in read_records(seen)) == left


def test_what_will_be_over_is_found() -> None:
    assert perishing(run_of([plain("a")], [put("key")])) == Perishing()
    run = run_of([plain("a")], [plain("b"), plain("c", ttl_ms=50)], [plain("d", ttl_ms=20)])
    assert perishing(run) == Perishing(2, BIRTH_MS + 22)
    assert perishing(still(run, BIRTH_MS + 30)) == Perishing(2, BIRTH_MS + 51)


# --- stretches --------------------------------------------------------------------------------------------


def test_a_stretch_is_passed_over_but_for_places() -> None:
    run = run_of([opened("a")], [opened("b")], [grown(1, "c")], [grown(2, "d")], [grown(1, "e")], [grown(1, "f")])
    sight = sight_of(run)
    placed = sorted(sight.growing.values(), key=lambda each: each.place)
    over = passed_over(1, 6, BIRTH_MS + 5, placed, sight.content)
    check_dense(over, 1, 6)
    assert briefs(over) == briefs(fold.fold(run, sight))
    over = passed_over(1, 6, BIRTH_MS + 5, placed[:1], lambda growing: None)
    check_dense(over, 1, 6)
    assert briefs(over) == []


# --- what a message holds ---------------------------------------------------------------------------------


def test_a_message_is_put_together_from_its_base_on() -> None:
    run = run_of(
        [opened("a")], [grown(1, "b"), plain("x"), grown(1, "c")], [replaced(1, "d")], [grown(1, "e")], [closed(1)]
    )
    growing = sight_of(run).growing[1]
    assert (growing.base, growing.place) == (5, 7)
    assert assemble([run], growing) == b"de"
    assert assemble([run], growing._replace(base=1, place=4)) == b"abc"
    assert assemble([run[span.start : span.end] for span in spans(run)], growing) == b"de"


def test_a_place_inside_of_a_batch_is_not_passed() -> None:
    run = run_of([opened("a")], [grown(1, "b"), grown(1, "c"), grown(1, "d")])
    growing = sight_of(run).growing[1]
    assert assemble([run], growing._replace(place=3)) == b"abc"


def test_runs_that_overlap_are_read_once() -> None:
    run = run_of([opened("a")], [grown(1, "b")], [grown(1, "c")])
    ends = [span.end for span in spans(run)]
    assert assemble([run[: ends[1]], run], sight_of(run).growing[1]) == b"abc"


def test_a_folded_record_is_a_beginning() -> None:
    run = run_of([grown(1, "lost")], [folded(1, "ab")], [grown(1, "c")])
    growing = Growing(1, "agent", "", 1, MessageState.OPEN, 3, 3, BIRTH_MS, 2, 2)
    assert assemble([run], growing) == b"abc"
    assert assemble([fold.fold(run, Sight({}, _none, 0))], growing) == b"abc"


@pytest.mark.parametrize(
    "rows",
    [[grown(1, "b"), grown(1, "c")], [opened("a"), plain("x")], [plain("x"), plain("y"), folded(1, "abc")], []],
    ids=["no beginning", "no place", "folded further along", "nothing"],
)
def test_what_is_not_there_cannot_be_put_together(rows: list[Row]) -> None:
    growing = Growing(1, "agent", "", 1, COMPLETE, 3, 2, BIRTH_MS, 1, 1)
    assert assemble([batch(1, *rows)] if rows else [], growing) is None


# --- any run ----------------------------------------------------------------------------------------------

Draw = Callable[[st.SearchStrategy[int]], int]


@st.composite
def any_run(draw: Draw) -> list[list[Row]]:
    """Batches that make sense: of messages 1 to 3, plain records, state."""
    alone, batches = Alone(), []
    for _ in range(draw(st.integers(1, 12))):
        rows: list[Row] = []
        for _ in range(draw(st.integers(1, 4))):
            growing = alone.session.durable.messages
            number = draw(st.integers(0, 6))
            message = list(growing)[number % len(growing)] if growing else 0
            choices = [plain("p"), plain("q", ttl_ms=1 + number), opened("o"), put("key", "v")]
            if message and growing[message].is_open:
                choices += [grown(message, "g")] * 6 + [closed(message)]
            if message and growing[message].state is not MessageState.REMOVED:
                choices += [replaced(message, "r"), removed(message)]
            row = choices[draw(st.integers(0, len(choices) - 1))]
            alone.say(row)
            rows.append(row)
        batches.append(rows)
    return batches


@bounded(150)
@given(batches=any_run(), after_ms=st.integers(0, 20), tile_bytes=st.sampled_from([60, 200, TILE_BYTES]))
def test_a_reader_of_the_folded_run_knows_what_a_reader_of_the_run_knows(
    batches: list[list[Row]], after_ms: int, tile_bytes: int
) -> None:
    run, now_ms = run_of(*batches), BIRTH_MS + after_ms
    kept, fold.TILE_BYTES = fold.TILE_BYTES, tile_bytes
    try:
        left = fold.fold(run, sight_of(run, now_ms))
        again = fold.fold(left, sight_of(run, now_ms))
    finally:
        fold.TILE_BYTES = kept
    check_dense(left, 1, sum(map(len, batches)))
    assert briefs(again) == briefs(left)
    assert _known(left) == _known(run, now_ms)


def _known(run: bytes, now_ms: int = 0) -> tuple[object, ...]:
    knowledge = Knowledge()
    for record in read_records(run):
        if not _is_over(record, now_ms):
            knowledge.hear(record)
    return knowledge.messages, knowledge.state, knowledge.plain


def _is_over(record: Record, now_ms: int) -> bool:
    return 0 < record.ttl_ms <= now_ms - record.time_ms


def test_a_batch_as_it_was_published_is_never_taken_for_another() -> None:
    """What is left of a batch that needs no folding is the very same bytes."""
    published = encode_labelled("agent", [plain("x", ttl_ms=100), put("k", "v"), plain("y")])
    run = batch(1, plain("x", ttl_ms=100), put("k", "v"), plain("y"))
    assert len(published) == len(run) and still(run, BIRTH_MS) == run
