"""The journal's bytes: one value per commit, holding what that commit published to any channel.

    value   u32 crc | entry | entry | ...
    entry   u64 number | u64 producer | u64 producer epoch | u64 sequence | u8 bytes of lease | lease | batch

`crc` covers all entries. A batch knows its own length. Sequence 0: published without deduplication. `lease` is
the name of the one under whose token it was published: what it opened belongs to that (PROTOCOL.md 4.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from outlast_protocol.batch import HEAD

from .damage import Damaged

_ENTRY_HEAD = Struct("<QQQQB")
_CRC_BYTES = 4


class Entry(NamedTuple):
    """One accepted publish: `batch` is stamped."""

    number: int
    producer: int
    producer_epoch: int
    sequence: int
    batch: bytes
    lease: str = ""


def entry_head(number: int, producer: int, producer_epoch: int, sequence: int, lease: str) -> bytes:
    """What comes before an entry's batch."""
    name = lease.encode()
    return _ENTRY_HEAD.pack(number, producer, producer_epoch, sequence, len(name)) + name


def seal(parts: list[bytes]) -> bytes:
    """The journal value of one commit's entry heads and batches."""
    body = b"".join(parts)
    return crc32(body).to_bytes(_CRC_BYTES, "little") + body


def read_entries(value: bytes, journal_id: int) -> Iterator[Entry]:
    """The entries of a journal value. Raises Damaged when its checksum fails."""
    whole = len(value) > _CRC_BYTES + _ENTRY_HEAD.size
    if not whole or crc32(memoryview(value)[_CRC_BYTES:]) != int.from_bytes(value[:_CRC_BYTES], "little"):
        raise Damaged(f"journal value {journal_id} fails its checksum")
    yield from split_entries(value)


def split_entries(value: bytes) -> Iterator[Entry]:
    """As `read_entries`, and believes what the value says."""
    start, end = _CRC_BYTES, len(value)
    while start < end:
        number, producer, epoch, sequence, lease_bytes = _ENTRY_HEAD.unpack_from(value, start)
        start += _ENTRY_HEAD.size + lease_bytes
        lease = value[start - lease_bytes : start].decode()
        length = HEAD.unpack_from(value, start)[0]
        yield Entry(number, producer, epoch, sequence, value[start : start + length], lease)
        start += length
