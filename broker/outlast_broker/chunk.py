"""A chunk: some of one channel's batches, end to end, as they were accepted and as they go out.

u32 head_crc     of the rest of the head: what trimming and seeking rely on
u32 crc          of the batches
u8  codec        0: plain
u8[3] zero
u64 first        offset of the first record
u64 last         offset of the last record
u64 first_ms     time of the first batch
u64 last_ms      time of the last batch
batches
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from outlast_protocol.batch import spans

from .damage import Damaged
from .retention import ChunkFacts

_HEAD = Struct("<IB3xQQQQ")
HEAD_BYTES = 4 + _HEAD.size
# A chunk this small is rewritten with what comes next: its page would be rewritten anyway.
MERGE_BYTES = 2_000
# Large enough that replay is a few reads, small enough that resuming at one record is cheap.
CHUNK_BYTES = 32_768


class Chunk(NamedTuple):
    """A decoded chunk; `batches` is the run of stamped batches."""

    first: int
    last: int
    first_ms: int
    last_ms: int
    batches: bytes

    def encode(self) -> bytes:
        head = _HEAD.pack(crc32(self.batches), 0, *self[:4])
        return b"".join((crc32(head).to_bytes(4, "little"), head, self.batches))

    def joined(self, later: Chunk) -> Chunk:
        assert later.first == self.last + 1, "chunks of a channel tile its log"
        return Chunk(self.first, later.last, self.first_ms, later.last_ms, self.batches + later.batches)

    def since(self, offset: int) -> bytes:
        """The batches from the one that holds `offset` on."""
        for span in spans(self.batches):
            if span.last >= offset:
                return self.batches[span.start :] if span.start else self.batches
        return b""


def decode(value: bytes, number: int) -> Chunk:
    """Raises Damaged unless every byte of the chunk is what was written."""
    crc, first, last, first_ms, last_ms = _read_head(value, number)
    if crc32(memoryview(value)[HEAD_BYTES:]) != crc:
        raise Damaged(f"a chunk of channel number {number} at offset {first} fails its checksum")
    return Chunk(first, last, first_ms, last_ms, value[HEAD_BYTES:])


def facts(value: bytes | memoryview, number: int) -> ChunkFacts:
    """What trimming and seeking need, from the head alone. Raises Damaged."""
    _, first, last, _, last_ms = _read_head(value, number)
    return ChunkFacts(first, last, last_ms, len(value))


def _read_head(value: bytes | memoryview, number: int) -> tuple[int, int, int, int, int]:
    head = value[4:HEAD_BYTES]
    if len(value) <= HEAD_BYTES or crc32(head) != int.from_bytes(value[:4], "little"):
        raise Damaged(f"the head of a chunk of channel number {number} fails its checksum")
    crc, _, first, last, first_ms, last_ms = _HEAD.unpack(head)
    return crc, first, last, first_ms, last_ms


def group_batches(batches: Sequence[bytes]) -> list[list[bytes]]:
    """The batches of each chunk to be: about CHUNK_BYTES together; a larger batch is alone."""
    if sum(map(len, batches)) <= CHUNK_BYTES:
        return [list(batches)]
    groups: list[list[bytes]] = [[]]
    size = 0
    for batch in batches:
        if groups[-1] and size + len(batch) > CHUNK_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(batch)
        size += len(batch)
    return groups


def make(group: Sequence[bytes]) -> Chunk:
    head, tail = next(spans(group[0])), next(spans(group[-1]))
    return Chunk(head.offset, tail.last, head.time_ms, tail.time_ms, b"".join(group))
