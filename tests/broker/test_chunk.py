from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker import chunk
from outlast_broker.chunk import CHUNK_BYTES, Chunk
from outlast_broker.damage import Damaged
from outlast_protocol.batch import read_records

from tests.broker.logs import batch
from tests.support.bounds import bounded

FIRST, SECOND, THIRD = batch(1, "a", "b", time_ms=5), batch(3, "c", time_ms=5), batch(4, "d", "e", "f", time_ms=9)
WHOLE = chunk.make([FIRST, SECOND, THIRD])


def test_a_chunk_knows_its_bounds() -> None:
    assert chunk.make([FIRST, SECOND, THIRD]) == Chunk(1, 6, 5, 9, FIRST + SECOND + THIRD)


def test_a_chunk_comes_back_as_it_was() -> None:
    assert chunk.decode(WHOLE.encode(), 1) == WHOLE


def test_its_facts_are_read_without_its_batches() -> None:
    value = WHOLE.encode()
    assert chunk.facts(value, 1) == chunk.facts(memoryview(value), 1) == (1, 6, 9, len(value))


def test_every_flipped_bit_is_noticed() -> None:
    value = WHOLE.encode()
    for bit in range(8 * len(value)):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged, match="channel number 77 "):
            chunk.decode(bytes(flipped), 77)


def test_every_shorter_value_is_noticed() -> None:
    value = WHOLE.encode()
    for length in range(len(value)):
        with pytest.raises(Damaged):
            chunk.decode(value[:length], 1)
    with pytest.raises(Damaged):
        chunk.decode(value + b"\0", 1)


def test_damaged_facts_are_never_told() -> None:
    """Trimming and seeking rely on them."""
    value = WHOLE.encode()
    for at in range(chunk.HEAD_BYTES):
        flipped = value[:at] + bytes([value[at] ^ 0x40]) + value[at + 1 :]
        with pytest.raises(Damaged, match="channel number 77 "):
            chunk.facts(flipped, 77)


@pytest.mark.parametrize(
    ("offset", "batches"),
    [(0, FIRST + SECOND + THIRD), (1, FIRST + SECOND + THIRD), (2, FIRST + SECOND + THIRD), (3, SECOND + THIRD),
     (4, THIRD), (6, THIRD), (7, b"")],
)  # fmt: skip
def test_since_gives_whole_batches_from_the_one_that_holds_the_offset(offset: int, batches: bytes) -> None:
    assert WHOLE.since(offset) == batches


def test_chunks_that_touch_are_joined() -> None:
    early, late = chunk.make([FIRST]), chunk.make([SECOND, THIRD])
    assert early.joined(late) == WHOLE


@pytest.mark.parametrize("late", [chunk.make([THIRD]), chunk.make([FIRST])])
def test_chunks_that_leave_a_hole_or_overlap_are_not_joined(late: Chunk) -> None:
    with pytest.raises(AssertionError):
        chunk.make([FIRST]).joined(late)


@bounded(60)
@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=30))
def test_groups_keep_the_order_and_are_large_but_not_too_large(sizes: list[int]) -> None:
    batches = [batch(1 + at, bytes(size)) for at, size in enumerate(sizes)]
    groups = chunk.group_batches(batches)
    assert [each for group in groups for each in group] == batches
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        size = sum(map(len, group))
        assert len(group) == 1 or size <= CHUNK_BYTES
        assert following is None or size + len(following[0]) > CHUNK_BYTES, "it would have fitted"


def test_what_is_stored_is_what_was_published() -> None:
    made = chunk.decode(chunk.make([FIRST, SECOND]).encode(), 1)
    assert [(record.offset, record.decoded()) for record in read_records(made.batches)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]
