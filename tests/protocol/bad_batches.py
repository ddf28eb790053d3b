"""Batches that a broker must refuse, each wrong in one way, with the name of the error."""

from __future__ import annotations

from zlib import crc32

import msgpack
from outlast_protocol import batch
from outlast_protocol.limits import BATCH_RECORDS_MAX

from tests.support.samples import BATCH, CLIENT_ID, STAMPED

CLIENT = CLIENT_ID.encode()
HI = b"\x02\0\0\0hi"


def sealed(data: bytes, start: int, new: bytes) -> bytes:
    """`data` with `new` at `start`, and a checksum that matches."""
    changed = data[:start] + new + data[start + len(new) :]
    return changed[:4] + crc32(changed[24:]).to_bytes(4, "little") + changed[8:]


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def labelled(labels: object, rest: bytes = HI) -> bytes:
    packed = labels if isinstance(labels, bytes) else msgpack.packb(labels)
    return batch.assemble(CLIENT, packed, 1, rest)


def bad_batches() -> dict[str, tuple[bytes, str]]:
    """name: (bytes, error)"""
    wrong = {**_heads(), **_vectors()}
    wrong |= {f"labels: {name}": (labelled(labels), "bad_batch") for name, labels in LABELS.items()}
    return wrong


def _heads() -> dict[str, tuple[bytes, str]]:
    bare = batch.assemble(CLIENT, b"", 1, b"")
    return {
        "nothing": (b"", "bad_batch"),
        "half a head": (BATCH[:20], "bad_batch"),
        "truncated by one byte": (BATCH[:-1], "bad_batch"),
        "one byte too many": (BATCH + b"\0", "bad_batch"),
        "two batches": (BATCH + BATCH, "bad_batch"),
        "length 0": (bytes(4) + BATCH[4:], "bad_batch"),
        "offset stamped": (sealed(BATCH, 8, b"\1"), "bad_batch"),
        "time stamped": (sealed(BATCH, 16, b"\1"), "bad_batch"),
        "stamped by a broker": (STAMPED, "bad_batch"),
        "reserved bits": (sealed(BATCH, 26, b"\1"), "bad_batch"),
        "checksum changed": (flipped(BATCH, 4), "bad_checksum"),
        "last byte changed": (flipped(BATCH, len(BATCH) - 1), "bad_checksum"),
        "kind changed and not sealed": (flipped(BATCH, 24), "bad_checksum"),
        "unknown kind": (sealed(BATCH, 24, b"\1"), "unsupported_kind"),
        "another client": (batch.assemble(b"other", b"", 1, HI), "client_mismatch"),
        "a longer client": (batch.assemble(b"agent2", b"", 1, HI), "client_mismatch"),
        "no client": (batch.assemble(b"", b"", 1, HI), "client_mismatch"),
        "client_length beyond the end": (sealed(bare, 25, b"\xff"), "bad_batch"),
        "labels_length beyond the end": (sealed(BATCH, 32, b"\xff\xff\xff\xff"), "bad_batch"),
    }


def _vectors() -> dict[str, tuple[bytes, str]]:
    two = [[0], [1]]
    return {
        "count 0": (batch.assemble(CLIENT, b"", 0, b""), "bad_batch"),
        "count 0 with data": (batch.assemble(CLIENT, b"", 0, HI), "bad_batch"),
        "count 2 of 1": (batch.assemble(CLIENT, b"", 2, HI), "bad_batch"),
        "count 2^32 - 1": (batch.assemble(CLIENT, b"", 2**32 - 1, HI), "bad_batch"),
        "one record too many": (batch.assemble(CLIENT, b"", BATCH_RECORDS_MAX + 1, HI), "bad_batch"),
        "data longer than its length": (batch.assemble(CLIENT, b"", 1, b"\1\0\0\0hi"), "bad_batch"),
        "data shorter than its length": (batch.assemble(CLIENT, b"", 1, b"\3\0\0\0hi"), "bad_batch"),
        "lengths that overflow 32 bits": (
            batch.assemble(CLIENT, b"", 2, b"\3\0\0\0\xff\xff\xff\xffhi"),
            "bad_batch",
        ),
        "index of a label that is not there": (labelled(two, b"\2\0\0\0\2\0hi"), "bad_batch"),
        "index missing": (labelled(two, b"\0\0\0\0"), "bad_batch"),
    }


LABELS: dict[str, object] = {
    "not msgpack": b"\xc1",
    "cut off": b"\x91",
    "bytes after the table": msgpack.packb([[0]]) + b"\0",
    "a map": {},
    "nil": None,
    "no label": [],
    "a label that is a number": [0],
    "an empty label": [[]],
    "a label of four": [[0, "a", {}, 1]],
    "unknown encoding": [[3]],
    "negative encoding": [[-1]],
    "encoding is a bool": [[True]],
    "name is a number": [[0, 1]],
    "name is bytes": [[0, b"name"]],
    "name of 256 bytes": [[0, "n" * 256]],
    "name is not UTF-8": b"\x91\x92\x00\xa2\xff\xff",
    "headers are an array": [[0, "a", []]],
    "headers are nil": [[0, "a", None]],
    "65 headers": [[0, "a", {str(n): "" for n in range(65)}]],
    "a header's value is a number": [[0, "a", {"k": 1}]],
    "a header's key is bytes": [[0, "a", {b"k": "v"}]],
    "an extension type": b"\x91\x91\xd4\x01\x00",
    "array of 4 G labels": b"\xdd\xff\xff\xff\xff",
    "name of 4 GiB": b"\x91\x92\x00\xdb\xff\xff\xff\xff",
    "arrays 5000 deep": b"\x91" * 5_000,
    "arrays of 65535 items, 500 deep": b"\xdc\xff\xff" * 500,
}
