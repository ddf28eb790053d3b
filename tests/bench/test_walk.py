"""The load generator's walking of frames agrees with the protocol package, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_protocol import frames as f
from outlast_protocol.batch import encode_batch, read_records, stamp

from bench.walk import ACK, DELIVER, PUBLISHED, Frames, OutOfOrder, delivered


def batches(counts: list[int], offset: int = 1) -> bytes:
    run = b""
    for count in counts:
        run += stamp(encode_batch("walker", [(b"x" * 9, None, None)] * count), offset, 1_000)
        offset += count
    return run


counts_of_batches = st.lists(st.integers(1, 70), min_size=1, max_size=5)


@given(st.lists(counts_of_batches, min_size=1, max_size=6), st.integers(1, 4_000))
def test_walks_frames_of_any_cut(frames: list[list[int]], piece_bytes: int) -> None:
    offset, wire, seen = 1, b"", []
    for counts in frames:
        wire += f.encode(f.Deliver(7, batches(counts, offset))) + f.encode(f.Published([(3, offset, False)]))
        offset += sum(counts)
    walker, expected = Frames(), 1
    for start in range(0, len(wire), piece_bytes):
        for kind, data, head, end in walker.feed(wire[start : start + piece_bytes]):
            seen.append(kind)
            if kind == DELIVER:
                expected = delivered(data, head, end, expected)
    assert seen == [DELIVER, PUBLISHED] * len(frames)
    assert expected == offset


@given(counts_of_batches)
def test_counts_what_the_protocol_reads(counts: list[int]) -> None:
    run = batches(counts)
    frame = f.encode(f.Deliver(7, run))
    assert delivered(frame, 0, len(frame), 1) - 1 == len(read_records(run)) == sum(counts)


def test_refuses_a_hole() -> None:
    frame = f.encode(f.Deliver(7, batches([2]) + batches([2], offset=4)))
    with pytest.raises(OutOfOrder, match="offset 4 came, 3 was due"):
        delivered(frame, 0, len(frame), 1)


def test_acks_have_the_layout_of_published() -> None:
    frame = f.encode(f.Published([(5, 40, False), (6, 41, True)]))
    assert list(ACK.iter_unpack(frame[8:])) == [(5, 0, 40), (6, 1, 41)]
