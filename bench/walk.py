"""Walks what an Outlast broker sends without decoding it: frame heads and batch heads, nothing between.

A load client that built objects would measure itself. Layouts: PROTOCOL.md 3.1, 4.1 and section 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

PUBLISHED, DELIVER = 0x13, 0x19

_LENGTH = Struct("<I")
_BATCH = Struct("<I4xQ12xI4x")
BATCH_HEAD_BYTES = 36
DELIVER_HEAD_BYTES = 16
ACK = Struct("<IIQ")


class OutOfOrder(Exception):
    """The records of a run are not the ones that had to come next."""


class Frames:
    """Cuts a stream into whole frames. `feed` yields (type, data, start, end) without copying a frame."""

    __slots__ = ("_bytes", "_need", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._need = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
        if self._pieces:
            self._pieces.append(data)
            self._bytes += len(data)
            if self._bytes < self._need:
                return
            data = b"".join(self._pieces)
            self._pieces = []
        start, size = 0, len(data)
        need = 8
        while size - start >= 8:
            length = _LENGTH.unpack_from(data, start)[0]
            end = start + length
            if end > size:
                need = length
                break
            yield data[start + 4], data, start, end
            start = end
        if start < size:
            self._pieces = [data[start:]]
            self._bytes = size - start
            self._need = need


def delivered(data: bytes, start: int, end: int, expected: int) -> int:
    """The offset after the last record of a DELIVER frame's batches, which must begin at offset `expected`."""
    position = start + DELIVER_HEAD_BYTES
    while position < end:
        length, offset, count = _BATCH.unpack_from(data, position)
        if offset != expected or length < BATCH_HEAD_BYTES:
            raise OutOfOrder(f"offset {offset} came, {expected} was due")
        expected = offset + count
        position += length
    return expected
