from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from outlast_protocol import ErrorCode, ProtocolError, batch, limits
from outlast_protocol.frames import Deliver, Page, encode
from outlast_protocol.operations import MessageState, Op, Operation
from outlast_protocol.tile import make_tile, tile_run

from tests.protocol.bad_batches import bad_runs, nested_tile
from tests.support.bounds import bounded
from tests.support.samples import BATCH, CLIENT_ID
from tests.support.strategies import tiles

BAD_RUNS = bad_runs()


def plain(offset: int, *datas: str, time_ms: int = 5) -> bytes:
    return batch.stamp(batch.encode_batch(CLIENT_ID, [(data, None, None) for data in datas]), offset, time_ms)


def offsets(run: bytes) -> list[int]:
    return [record.offset for record in batch.read_records(run)]


# --- what a tile is ---------------------------------------------------------------------------------------


def test_a_tile_is_a_batch_that_says_what_it_stands_for() -> None:
    run = plain(3, "a", "b")
    tile = make_tile(2, 9, 1_700, run)
    head = batch.HEAD.unpack_from(tile)
    assert head == (36 + len(run), crc32(tile[24:]), 2, 1_700, batch.KIND_TILE, 0, 0, 8, 0)
    assert tile[36:] == tile_run(tile) == run


def test_the_span_of_a_tile_is_what_it_stands_for() -> None:
    run = make_tile(2, 9, 1_700, plain(3, "a")) + plain(10, "b")
    [tile, behind] = batch.spans(run)
    assert (tile.offset, tile.last, tile.records, tile.time_ms) == (2, 9, 8, 1_700)
    assert (behind.offset, behind.last) == (10, 10)


@bounded(150)
@given(tiles())
def test_what_a_tile_holds_is_read_with_its_own_offsets(made: tuple[bytes, list[int]]) -> None:
    tile, held = made
    records = batch.read_records(tile)
    assert [record.offset for record in records] == held
    assert records == batch.read_records(tile_run(tile))
    [span] = batch.spans(tile)
    assert all(span.offset <= record.offset <= span.last for record in records)


def test_tiles_with_gaps_are_read_among_other_batches() -> None:
    first = make_tile(1, 4, 1, plain(2, "a"))
    second = make_tile(5, 9, 1, plain(5, "b") + plain(8, "c", "d"))
    run = first + second + make_tile(10, 12, 1, b"") + plain(13, "e")
    assert offsets(run) == [2, 5, 8, 9, 13]
    assert [span.last for span in batch.spans(run)] == [4, 9, 12, 13]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2**32 - 1), (2**63 - 1, 2**63 - 1)])
def test_an_empty_tile_stands_for_its_offsets_and_holds_nothing(first: int, last: int) -> None:
    tile = make_tile(first, last, 7, b"")
    assert len(tile) == batch.HEAD_BYTES and batch.read_records(tile) == []
    [span] = batch.spans(tile)
    assert (span.offset, span.last) == (first, last)


def test_a_tile_holds_a_folded_message_at_its_place() -> None:
    folded = Operation(Op.FOLDED, 3, MessageState.COMPLETE)
    label: batch.LabelKey = (1, "reply", (("id", "m1"),), folded, 0)
    whole = batch.stamp(batch.encode_labelled(CLIENT_ID, [(label, b"Once upon a time")]), 9, 8)
    [record] = batch.read_records(make_tile(3, 9, 8, whole))
    assert (record.offset, record.time_ms, record.client_id, record.operation) == (9, 8, CLIENT_ID, folded)
    assert record.decoded() == "Once upon a time" and record.headers == {"id": "m1"}


def test_a_tile_fits_the_frames_that_carry_batches() -> None:
    run = batch.stamp(batch.assemble(b"", b"", 1, _record(limits.BATCH_BYTES_MAX - 2 * batch.HEAD_BYTES)), 1, 1)
    tile = make_tile(1, 1, 1, run)
    assert len(tile) == limits.BATCH_BYTES_MAX and offsets(tile) == [1]
    for frame in (Deliver(1, tile), Page(1, 1, 1, 1, 1, tile)):
        assert len(encode(frame)) <= limits.FRAME_BYTES_MAX


def _record(size: int) -> bytes:
    """The rest of a batch of one record that fills `size` bytes, its length included."""
    return (size - 4).to_bytes(4, "little") + bytes(size - 4)


@pytest.mark.parametrize(
    ("first", "last", "run"), [(2, 1, b""), (1, 1, bytes(limits.BATCH_BYTES_MAX - 35))], ids=["nothing", "too long"]
)
def test_what_is_no_tile_is_not_made(first: int, last: int, run: bytes) -> None:
    with pytest.raises(AssertionError, match="a tile"):
        make_tile(first, last, 1, run)


def test_nobody_publishes_a_tile() -> None:
    tile = make_tile(1, 1, 0, b"")
    unstamped = tile[:8] + bytes(16) + tile[24:]
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(unstamped, b"")
    assert caught.value.code is ErrorCode.UNSUPPORTED_KIND and caught.value.detail == {"kind": 2}


# --- what a reader refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_RUNS)
def test_what_is_no_run_is_refused(name: str) -> None:
    run, error = BAD_RUNS[name]
    with pytest.raises(ProtocolError) as caught:
        batch.read_records(run)
    assert caught.value.name == error


def test_every_changed_byte_of_a_tile_is_noticed() -> None:
    """But those of its stamp, which no checksum covers; offset 0 and 2^63 are out of what it holds."""
    tile = make_tile(3, 9, 1, plain(4, "a", "b"))
    for place in [*range(8), *range(24, len(tile))]:
        changed = bytearray(tile)
        changed[place] ^= 0x81
        with pytest.raises(ProtocolError):
            batch.read_records(bytes(changed))


def test_every_cut_of_a_tile_is_noticed() -> None:
    tile = make_tile(1, 9, 1, plain(4, "a"))
    for end in range(1, len(tile)):
        with pytest.raises(ProtocolError):
            batch.read_records(tile[:end])


@pytest.mark.parametrize("depth", [1, 2, 900, 3_000])
def test_tiles_in_tiles_are_refused_at_the_first(depth: int) -> None:
    """However deep, and though each is right in itself: nobody reads them one inside the other."""
    with pytest.raises(ProtocolError) as caught:
        batch.read_records(nested_tile(depth))
    assert caught.value.code is ErrorCode.BAD_BATCH and "holds a tile" in caught.value.message


def test_a_tile_inside_a_tile_is_not_even_looked_at() -> None:
    """Its checksum is wrong; what is said is where it lies."""
    broken = batch.stamp(BATCH[:24] + bytes([batch.KIND_TILE]) + BATCH[25:], 1, 1)
    with pytest.raises(ProtocolError, match="holds a tile"):
        batch.read_records(make_tile(1, 1, 1, broken))
