"""One channel's way out, step by step: what goes together, under which sequence, and what an answer settles."""

from __future__ import annotations

import pytest
from outlast.backoff import Pace
from outlast.errors import OutlastError, TooLarge, from_wire
from outlast.message import STAND_IN
from outlast.publisher import HELD_BYTES, Anchor, Bounds, Entry, Outgoing, Publisher, Tie, check_size
from outlast.rows import batch_bytes, encode_rows, make_row
from outlast_protocol import Data, ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import UNCONDITIONAL
from outlast_protocol.operations import Op, Operation

from .fake_broker import EPOCH

BOUNDS = Bounds("agent", batch_bytes=1_000, batch_records=100)
PACE = Pace(100, 10_000)


def entry(*datas: Data, if_offset: int | None = None, alone: bool = False, fence: int = 0) -> Entry[str]:
    rows = [make_row(data, None, None) for data in datas]
    return Entry(rows, "+".join(map(str, datas)), if_offset, alone, Tie(fence=fence))


def publisher(*entries: Entry[str]) -> Publisher[str]:
    made: Publisher[str] = Publisher()
    for each in entries:
        made.add(each)
    return made


def sent(made: Publisher[str], now_ms: float = 0, bounds: Bounds = BOUNDS) -> Outgoing[str]:
    outgoing = made.next(bounds, now_ms)
    assert outgoing is not None
    return outgoing


def tickets(entries: list[Entry[str]]) -> list[str]:
    return [each.ticket for each in entries]


def refusal(code: ErrorCode, **detail: int) -> OutlastError:
    return from_wire(code, "", detail)


def named(*names: str) -> Entry[str]:
    return Entry([make_row(b"", name, None) for name in names], "+".join(names), None, False, Tie())


def test_a_batch_has_no_more_labels_than_are_allowed() -> None:
    bounds = BOUNDS._replace(batch_labels=2)
    made = publisher(named("a"), named("a"), named("a", "b"), named("b"), named("c"), named("c", "d"), named("a"))
    batches = []
    while not made.idle:
        sent(made, bounds=bounds)
        batches.append(tickets(made.acknowledged()))
    assert batches == [["a", "a", "a+b", "b"], ["c", "c+d"], ["a"]]


def test_what_has_too_many_labels_by_itself_is_too_large() -> None:
    bounds = BOUNDS._replace(batch_labels=2)
    check_size(named("a", "b", "a", "b"), bounds)
    with pytest.raises(TooLarge, match="3 different names") as refused:
        check_size(named("a", "b", "c"), bounds)
    assert refused.value.detail == {"limit": 2, "value": 3}


def test_records_of_many_entries_count_together() -> None:
    made = publisher(entry("a", "b", "c"), entry("d", "e"), entry("f"))
    sent(made, bounds=BOUNDS._replace(batch_records=4))
    assert tickets(made.acknowledged()) == ["a+b+c"]


def test_the_first_goes_at_once_and_the_rest_as_one() -> None:
    made = publisher(entry("a"))
    first = sent(made)
    for name in "bcd":
        made.add(entry(name))
    assert made.next(BOUNDS, 0) is None
    assert tickets(made.acknowledged()) == ["a"]
    second = sent(made)
    assert (first.sequence, second.sequence) == (1, 2)
    assert tickets(made.acknowledged()) == ["b", "c", "d"]
    assert made.idle and made.next(BOUNDS, 0) is None


def test_nothing_waits_in_a_new_one() -> None:
    made = publisher()
    assert made.idle and made.next(BOUNDS, 0) is None


def test_what_was_published_in_one_turn_goes_together() -> None:
    made = publisher(entry("a"), entry("b"))
    records = read_records(sent(made).bytes_for("agent"))
    assert [record.decoded() for record in records] == ["a", "b"]


def test_a_lost_batch_goes_again_unchanged() -> None:
    made = publisher(entry("a"))
    first = sent(made)
    encoded = first.bytes_for("agent")
    made.add(entry("b"))
    made.lost()
    again = sent(made)
    assert again is first
    assert (again.sequence, again.bytes_for("agent")) == (1, encoded)


def test_another_name_for_the_client_means_other_bytes() -> None:
    made = publisher(entry("a"))
    outgoing = sent(made)
    assert outgoing.bytes_for("agent") != outgoing.bytes_for("other")
    assert outgoing.bytes_for("other") == encode_rows("other", [make_row("a", None, None)])


def test_conditional_and_atomic_ones_go_alone_and_in_order() -> None:
    made = publisher(
        entry("a"), entry("b", if_offset=1), entry("c"), entry("d", "e", alone=True), entry("f"), entry("g")
    )
    batches, conditions = [], []
    while not made.idle:
        conditions.append(sent(made).if_offset)
        batches.append(tickets(made.acknowledged()))
    assert batches == [["a"], ["b"], ["c"], ["d+e"], ["f", "g"]]
    assert conditions == [UNCONDITIONAL, 1, UNCONDITIONAL, UNCONDITIONAL, UNCONDITIONAL]


def test_batches_stay_within_the_limits() -> None:
    made = publisher(*(entry("x" * 90) for _ in range(100)), *(entry("") for _ in range(120)))
    sizes, counts = [], []
    while not made.idle:
        outgoing = sent(made)
        sizes.append(len(outgoing.bytes_for("agent")))
        counts.append(len(made.acknowledged()))
    assert sum(counts) == 220
    assert max(sizes) <= BOUNDS.batch_bytes
    assert max(counts) == BOUNDS.batch_records
    assert min(sizes[:8]) > BOUNDS.batch_bytes * 0.8


def test_one_that_just_fits_is_sent_and_one_byte_more_is_refused_at_once() -> None:
    room = BOUNDS.batch_bytes - batch_bytes("agent", [make_row(b"", None, None)])
    fits = entry(b"x" * room)
    check_size(fits, BOUNDS)
    assert len(sent(publisher(fits)).bytes_for("agent")) == BOUNDS.batch_bytes
    with pytest.raises(TooLarge, match="1001 bytes as a batch, allowed are 1000") as caught:
        check_size(entry(b"x" * (room + 1)), BOUNDS)
    assert caught.value.detail == {"limit": 1_000, "value": 1_001}


def test_too_many_records_for_one_batch() -> None:
    check_size(entry(*[""] * 100), BOUNDS)
    with pytest.raises(TooLarge, match="101 records, one batch holds 100"):
        check_size(entry(*[""] * 101), BOUNDS)


def test_a_refusal_does_not_use_up_its_sequence() -> None:
    made = publisher(entry("a", if_offset=5), entry("b"))
    assert sent(made).sequence == 1
    assert tickets(made.refused(refusal(ErrorCode.OFFSET_MISMATCH, last=9), 0, PACE, 0.5)) == ["a"]
    assert sent(made).sequence == 1
    assert tickets(made.acknowledged()) == ["b"]


def test_a_retryable_refusal_waits_and_goes_again_under_its_sequence() -> None:
    made = publisher(entry("a"))
    first = sent(made)
    assert made.refused(refusal(ErrorCode.READ_ONLY, retry_after_ms=2_000), 1_000, PACE, 0.5) == []
    assert made.not_before_ms == 1_000 + 2_000 + 50
    assert made.next(BOUNDS, 3_049) is None
    assert sent(made, 3_050) is first
    assert made.refused(refusal(ErrorCode.BAD_CHECKSUM), 4_000, PACE, 0.5) == []
    assert made.not_before_ms == 4_000 + 100


def test_retries_start_anew_after_a_success() -> None:
    made = publisher(entry("a"), entry("b", alone=True))
    for now_ms in (0, 1_000, 2_000):
        sent(made, now_ms)
        made.refused(refusal(ErrorCode.READ_ONLY), now_ms, PACE, 0.5)
    assert made.not_before_ms == 2_000 + 200
    sent(made, 3_000)
    made.acknowledged()
    sent(made, 4_000)
    made.refused(refusal(ErrorCode.READ_ONLY), 4_000, PACE, 0.5)
    assert made.not_before_ms == 4_000 + 50


def test_a_gap_is_closed_with_the_sequence_that_the_broker_waits_for() -> None:
    made = publisher(entry("a"), entry("b", alone=True), entry("c", alone=True))
    sent(made)
    made.acknowledged()
    assert sent(made).sequence == 2
    assert made.refused(refusal(ErrorCode.SEQUENCE_GAP, expected=1), 0, PACE, 0.0) == []
    assert sent(made).sequence == 1
    assert tickets(made.acknowledged()) == ["b"]
    assert sent(made).sequence == 2


@pytest.mark.parametrize("code", [ErrorCode.BAD_BATCH, ErrorCode.LIMIT_EXCEEDED])
def test_the_fault_of_one_message_does_not_fail_its_neighbours(code: ErrorCode) -> None:
    made = publisher(entry("a"), entry("b"), entry("c"))
    later = entry("d")
    sent(made)
    made.add(later)
    assert made.refused(refusal(code), 0, PACE, 0.0) == []
    outcomes = []
    while not made.idle:
        outgoing = sent(made)
        if tickets(outgoing.entries) == ["b"]:
            outcomes.append(("refused", tickets(made.refused(refusal(code), 0, PACE, 0.0)), outgoing.sequence))
        else:
            outcomes.append(("stored", tickets(made.acknowledged()), outgoing.sequence))
    assert outcomes == [("stored", ["a"], 1), ("refused", ["b"], 2), ("stored", ["c"], 2), ("stored", ["d"], 3)]


def test_a_refusal_that_concerns_all_fails_the_batch_and_not_what_follows() -> None:
    made = publisher(entry("a"), entry("b"))
    sent(made)
    made.add(entry("c"))
    assert tickets(made.refused(refusal(ErrorCode.FENCED, epoch=3), 0, PACE, 0.0)) == ["a", "b"]
    assert tickets(sent(made).entries) == ["c"]


def test_giving_up_gives_everything_back() -> None:
    made = publisher(entry("a"))
    sent(made)
    made.add(entry("b"))
    assert tickets(made.drain()) == ["a", "b"]
    assert made.idle


def test_what_a_message_counts_for_while_it_waits() -> None:
    one, two = entry("x" * 100), entry("x" * 100, "")
    assert 100 + HELD_BYTES <= one.held_bytes <= 110 + HELD_BYTES
    assert 100 + 2 * HELD_BYTES <= two.held_bytes <= 120 + 2 * HELD_BYTES


def test_what_is_under_one_token_goes_alone_and_is_found_until_it_is_settled() -> None:
    made = publisher(entry("a", fence=7), entry("b", fence=7), entry("c"), entry("d", fence=8))
    for fence, names in ((7, ["a", "b"]), (0, ["c"]), (8, ["d"])):
        outgoing = sent(made)
        last = made.last_under(fence)
        assert outgoing.fence == fence and last is not None and last.ticket == names[-1]
        assert tickets(made.acknowledged()) == names
        assert made.last_under(fence) is None


# --- what is said of growing messages -----------------------------------------------------------------------------


def tied(name: str, tie: Tie, message: int = STAND_IN) -> Entry[str]:
    return Entry([make_row(name, operation=Operation(Op.APPEND, message))], name, None, False, tie)


def said(outgoing: Outgoing[str]) -> list[tuple[int, Data]]:
    """The message and the data of each operation."""
    records = read_records(outgoing.bytes_for("agent"))
    return [(record.operation.message if record.operation else 0, record.decoded()) for record in records]


def test_what_waits_for_its_message_does_not_go_with_the_opening() -> None:
    anchor = Anchor()
    late = Tie(anchor=anchor, late=True)
    opening = Entry([make_row("", operation=Operation(Op.OPEN))], "open", None, False, Tie(anchor=anchor))
    made = publisher(opening, tied("a", late), tied("b", late), entry("plain"))
    assert tickets(sent(made).entries) == ["open"]
    made.acknowledged()
    anchor.acknowledged(5, 5, EPOCH)
    assert said(sent(made)) == [(5, "a"), (5, "b"), (0, "plain")]


def test_an_anchor_knows_how_far_its_message_is_on_disk() -> None:
    anchor = Anchor()
    anchor.acknowledged(5, 5, EPOCH)
    anchor.acknowledged(9, 10, EPOCH)
    assert (anchor.offset, anchor.epoch, anchor.place) == (5, EPOCH, 10)


def test_leases_do_not_share_a_batch() -> None:
    made = publisher(tied("a", Tie(fence=1), 5), tied("b", Tie(fence=2), 5), tied("c", Tie(fence=2), 5))
    first = sent(made)
    assert (first.fence, tickets(first.entries)) == (1, ["a"])
    made.acknowledged()
    assert tickets(sent(made).entries) == ["b", "c"]


def test_what_was_made_for_another_life_is_given_up_and_the_rest_goes_on() -> None:
    anchor = Anchor(5, EPOCH)
    made = publisher(tied("a", Tie(anchor=anchor), 5), entry("plain"), tied("b", Tie(epoch=EPOCH + 1), 5))
    outgoing = sent(made)
    assert made.is_tied and not outgoing.is_for(EPOCH + 1)
    assert tickets(made.expel(EPOCH + 1)) == ["a"]
    again = sent(made)
    assert again.sequence == outgoing.sequence and again.is_for(EPOCH + 1)
    assert tickets(again.entries) == ["plain", "b"]
    made.lost()
    assert tickets(made.expel(None)) == ["b"]
    assert not made.is_tied and tickets(sent(made).entries) == ["plain"]


def test_what_waits_to_be_said_of_a_message_can_be_withdrawn() -> None:
    one, two = Anchor(5, EPOCH), Anchor(6, EPOCH)
    made = publisher(entry("sent"))
    sent(made)
    for each in (tied("a", Tie(anchor=one), 5), tied("b", Tie(anchor=two), 6), entry("plain")):
        made.add(each)
    assert tickets(made.withdraw({one})) == ["a"]
    made.acknowledged()
    assert tickets(sent(made).entries) == ["b", "plain"]
