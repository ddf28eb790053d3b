"""Where a subscription stands: what it asks for, what it hands over, what it takes for a broken promise."""

from __future__ import annotations

import pytest
from outlast.errors import Resync, Violation
from outlast.reading import DELIVER_HEAD_BYTES, RUN_BYTES, Reading
from outlast.records import Record
from outlast.starts import EARLIEST, Start
from outlast_protocol import Position
from outlast_protocol.frames import Resync as ResyncFrame, Subscribed
from outlast_protocol.tile import make_tile

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, TIME_MS, stored

LATEST = Start(start="latest")


def subscribed(after: int = 0, epoch: int = EPOCH, resync: str | None = None) -> Subscribed:
    return Subscribed(1, after, epoch, 1, 100, resync)


def reading(after: int = 0, start: Start = LATEST, window_bytes: int = 1_000) -> Reading:
    """One that has been accepted behind `after`."""
    made = Reading(start, window_bytes)
    made.ask()
    made.subscribed(subscribed(after))
    return made


def handed(made: Reading) -> list[int | str]:
    """Offsets and resyncs until nothing is left."""
    seen: list[int | str] = []
    while True:
        while record := made.next_record():
            seen.append(record.offset)
        came = made.advance()
        if isinstance(came, Resync):
            seen.append(came.reason)
        elif not came:
            return seen


def test_it_asks_for_what_the_user_wanted_until_it_is_accepted() -> None:
    made = Reading(Start(last=3), 1_000)
    assert made.ask() == Start(last=3)
    made.lost()
    assert made.ask() == Start(last=3)
    made.subscribed(subscribed(after=7))
    assert made.position == Position(EPOCH, 7)
    made.lost()
    assert made.ask() == Start(after=7, epoch=EPOCH)


def test_records_in_order_and_the_position_moves_with_each() -> None:
    made = reading()
    made.delivered(stored(1, "a", "b") + stored(3, "c"))
    assert made.next_record() is None
    assert made.advance() is True
    records: list[Record] = []
    while record := made.next_record():
        records.append(record)
        assert made.position == record.position == Position(EPOCH, record.offset)
    assert [(record.offset, record.data) for record in records] == [(1, "a"), (2, "b"), (3, "c")]


def test_what_was_not_handed_over_is_asked_for_again() -> None:
    made = reading()
    made.delivered(stored(1, "a", "b", "c"))
    made.delivered(stored(4, "d"))
    made.advance()
    made.next_record()
    assert made.buffered == 3
    made.lost()
    assert made.buffered == 0
    assert made.ask() == Start(after=1, epoch=EPOCH)


def test_a_batch_is_not_split_and_what_the_user_has_is_skipped() -> None:
    made = reading(after=2)
    made.delivered(stored(1, "a", "b", "c", "d"))
    made.delivered(stored(5, "e"))
    assert handed(made) == [3, 4, 5]


def test_a_batch_that_the_user_has_whole_gives_nothing() -> None:
    made = reading(after=3)
    made.delivered(stored(2, "b", "c") + stored(4, "d"))
    assert handed(made) == [4]


@pytest.mark.parametrize(
    ("after", "offset"),
    [(0, 2), (5, 7), (5, 100)],
)
def test_a_hole_is_a_broken_promise(after: int, offset: int) -> None:
    with pytest.raises(Violation, match="records are missing"):
        reading(after).delivered(stored(offset, "x"))


def test_a_hole_between_batches_and_between_frames() -> None:
    with pytest.raises(Violation, match="offset 4 came after 2"):
        reading().delivered(stored(1, "a", "b") + stored(4, "d"))
    made = reading()
    made.delivered(stored(1, "a"))
    with pytest.raises(Violation, match="offset 3 came after 1"):
        made.delivered(stored(3, "c"))


def test_damaged_bytes_are_not_handed_over() -> None:
    made = reading()
    made.delivered(stored(1, "a") + stored(2, "b")[:-1] + b"?")
    with pytest.raises(Violation, match="bad_checksum"):
        made.advance()


@pytest.mark.parametrize("tail", [b"x", bytes(40), b"\xff" * 40])
def test_bytes_that_are_no_batch(tail: bytes) -> None:
    with pytest.raises(Violation, match="cannot be read"):
        reading().delivered(stored(1, "a") + tail)


def test_another_place_than_asked_for_needs_a_resync() -> None:
    made = reading(after=5)
    made.lost()
    made.ask()
    with pytest.raises(Violation, match="without a resync"):
        made.subscribed(subscribed(after=6))
    made.ask()
    with pytest.raises(Violation, match="without a resync"):
        made.subscribed(subscribed(after=5, epoch=NEXT_EPOCH))


@pytest.mark.parametrize(("reason", "epoch"), [("trimmed", EPOCH), ("recreated", NEXT_EPOCH)])
def test_a_resync_comes_before_the_records_behind_it(reason: str, epoch: int) -> None:
    made = reading(after=5)
    made.lost()
    made.ask()
    made.subscribed(subscribed(after=50, epoch=epoch, resync=reason))
    made.delivered(stored(51, "a"))
    assert made.position == Position(EPOCH, 5)
    assert handed(made) == [reason, 51]
    assert made.position == Position(epoch, 51)


def test_a_resync_that_the_user_has_not_seen_is_said_again() -> None:
    made = reading(after=5)
    made.resynced(ResyncFrame(NUMBER, "trimmed", 50, EPOCH))
    made.lost()
    assert made.ask() == Start(after=5, epoch=EPOCH)


def test_trimmed_later() -> None:
    made = reading()
    made.delivered(stored(1, "a"))
    made.resynced(ResyncFrame(NUMBER, "trimmed", 50, EPOCH))
    made.delivered(stored(51, "b"))
    assert handed(made) == [1, "trimmed", 51]


def test_deleted_gives_the_rest_then_the_end_then_the_next_life_from_its_start() -> None:
    made = reading()
    made.delivered(stored(1, "a", "b"))
    made.resynced(ResyncFrame(NUMBER, "deleted", 0, EPOCH))
    assert made.ended and not made.dormant
    made.lost()
    assert handed(made) == [1, 2, "deleted"]
    assert made.dormant and made.position is None
    made.restart()
    assert made.ask() == EARLIEST
    made.subscribed(subscribed(after=0, epoch=NEXT_EPOCH))
    made.delivered(stored(1, "c"))
    assert handed(made) == [1]
    assert made.position == Position(NEXT_EPOCH, 1)


def test_credit_comes_back_only_for_what_the_user_is_through_with() -> None:
    first, second = stored(1, "x" * 300), stored(2, "y" * 300)
    made = reading(window_bytes=1_000)
    made.delivered(first)
    made.delivered(second)
    assert made.credit_due() == 0
    made.advance()
    assert made.next_record() is not None
    assert made.credit_due() == 0
    made.advance()
    assert made.credit_due() == DELIVER_HEAD_BYTES + len(first)
    assert made.credit_due() == 0
    assert made.next_record() is not None
    made.advance()
    assert made.credit_due() == DELIVER_HEAD_BYTES + len(second)


def test_small_amounts_of_credit_are_collected() -> None:
    made = reading(window_bytes=4_000)
    granted, frames_until_credit = 0, 0
    while not granted:
        frames_until_credit += 1
        made.delivered(stored(frames_until_credit, "x"))
        handed(made)
        granted = made.credit_due()
    assert granted >= 1_000
    assert frames_until_credit > 10


@pytest.mark.parametrize("window_bytes", [1, 3, 100])
def test_a_small_window_is_given_back_whole(window_bytes: int) -> None:
    made = reading(window_bytes=window_bytes)
    batch = stored(1, "x" * 500)
    made.delivered(batch)
    handed(made)
    assert made.credit_due() == DELIVER_HEAD_BYTES + len(batch)


def test_nothing_is_owed_for_a_connection_that_is_gone() -> None:
    made = reading()
    made.delivered(stored(1, "x" * 900))
    made.advance()
    made.lost()
    made.advance()
    assert made.credit_due() == 0


def test_a_large_frame_is_decoded_in_runs_and_its_credit_adds_up() -> None:
    batches = [stored(n, "x" * 1_000) for n in range(1, 201)]
    frame = b"".join(batches)
    made = reading(window_bytes=1)
    made.delivered(frame)
    assert made.buffered == 200
    credit, offsets, most = 0, [], 0
    while made.advance():
        credit += made.credit_due()
        most = max(most, len(made.records))
        while record := made.next_record():
            offsets.append(record.offset)
    assert offsets == list(range(1, 201))
    assert most <= RUN_BYTES // 1_000 + 1
    assert credit + made.credit_due() == DELIVER_HEAD_BYTES + len(frame)


# --- tiles ----------------------------------------------------------------------------------------------------


def test_a_tile_stands_for_its_whole_range() -> None:
    made = reading()
    made.delivered(stored(1, "a") + make_tile(2, 9, TIME_MS, stored(4, "b") + stored(7, "c")))
    made.delivered(stored(10, "d"))
    assert made.buffered == 4
    assert handed(made) == [1, 4, 7, 10]
    with pytest.raises(Violation, match="records are missing"):
        made.delivered(make_tile(12, 13, TIME_MS, b""))


def test_behind_the_last_record_of_a_tile_everything_in_it_is_handed_over() -> None:
    made = reading()
    made.delivered(make_tile(1, 9, TIME_MS, stored(4, "b") + stored(7, "c")))
    made.advance()
    places = []
    while made.next_one:
        made.next_record()
        places.append(made.position)
    assert places == [Position(EPOCH, 4), Position(EPOCH, 9)]


def test_a_tile_without_records_moves_the_position() -> None:
    made = reading()
    made.delivered(make_tile(1, 9, TIME_MS, b""))
    assert made.buffered == 0
    assert made.advance() is True
    assert (made.next_one, made.position) == (None, Position(EPOCH, 9))
    made.lost()
    assert made.ask() == Start(after=9, epoch=EPOCH)


def test_a_reader_that_comes_back_inside_of_a_tile_gets_what_lies_beyond() -> None:
    made = reading(after=5)
    made.delivered(make_tile(1, 9, TIME_MS, stored(4, "b") + stored(7, "c")))
    assert handed(made) == [7]
