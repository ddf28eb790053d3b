"""Batches that a broker must refuse, each wrong in one way, with the name of the error."""

from __future__ import annotations

from zlib import crc32

import msgpack
from outlast_protocol import batch
from outlast_protocol.limits import BATCH_LABELS_MAX, BATCH_RECORDS_MAX
from outlast_protocol.tile import make_tile

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


def labelled(labels: object, rest: bytes = HI, kind: int = batch.KIND_RECORDS) -> bytes:
    packed = labels if isinstance(labels, bytes) else msgpack.packb(labels)
    return batch.assemble(CLIENT, packed, 1, rest, kind)


def operating(operation: object, encoding: int = 1, name: object = None, headers: object = None) -> bytes:
    """A session batch of one record with this operation."""
    return labelled([[encoding, name, headers or {}, operation]], kind=batch.KIND_SESSION)


def bad_batches() -> dict[str, tuple[bytes, str]]:
    """name: (bytes, error)"""
    wrong = {**_heads(), **_vectors()}
    wrong |= {f"labels: {name}": (labelled(labels), "bad_batch") for name, labels in LABELS.items()}
    for name, labels in SESSION_LABELS.items():
        wrong[f"session labels: {name}"] = (labelled(labels, kind=batch.KIND_SESSION), "bad_batch")
    for name, operation in OPERATIONS.items():
        wrong[f"operation: {name}"] = (operating(operation), "bad_batch")
    wrong |= {name: (data, "bad_batch") for name, data in _mislabelled().items()}
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
        "a tile": (sealed(BATCH, 24, b"\2"), "unsupported_kind"),
        "unknown kind": (sealed(BATCH, 24, b"\3"), "unsupported_kind"),
        "highest kind": (sealed(BATCH, 24, b"\xff"), "unsupported_kind"),
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
        "one label too many": (
            labelled([[0, f"{at}"] for at in range(BATCH_LABELS_MAX + 1)], b"\0\0\0\0\0\0"),
            "limit_exceeded",
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
    "an operation in a batch of kind 0": [[1, "a", {}, [1]]],
    "no operation, but room for one, in a batch of kind 0": [[1, "a", {}, None]],
    "ttl_ms in a batch of kind 0": [[0, None, {}, None, 1_000]],
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

SESSION_LABELS: dict[str, object] = {
    "a label of six": [[0, None, {}, None, 1, None]],
    "headers are nil": [[0, None, None, [1]]],
    "operation is a number": [[0, None, {}, 1]],
    "operation is a map": [[0, None, {}, {1: 2}]],
    "operation is text": [[0, None, {}, "open"]],
    "operation is false": [[0, None, {}, False]],
    "ttl_ms is 0": [[0, None, {}, None, 0]],
    "ttl_ms is negative": [[0, None, {}, None, -1]],
    "ttl_ms is 2^53": [[0, None, {}, None, 2**53]],
    "ttl_ms is a bool": [[0, None, {}, None, True]],
    "ttl_ms is a float": [[0, None, {}, None, 1.0]],
    "ttl_ms is text": [[0, None, {}, None, "1"]],
    "ttl_ms is nil": [[0, None, {}, None, None]],
    "an operation with ttl_ms": [[1, None, {}, [1], 1_000]],
    "an encoding that is a float": [[1.0, None, {}, [1]]],
    "operations 900 deep": b"\x91\x94\x01\xc0\x80" + b"\x91" * 900 + b"\x01",
    "operations 1018 deep": b"\x91\x94\x01\xc0\x80" + b"\x91" * 1_018 + b"\x01",
    "operations 5000 deep": b"\x91\x94\x01\xc0\x80" + b"\x91" * 5_000,
    "an operation of 65535 items": b"\x91\x94\x01\xc0\x80" + b"\xdc\xff\xff" * 500,
}
OPERATIONS: dict[str, object] = {
    "nothing": [],
    "an unknown one": [8, 1],
    "an unknown one of state": [19, "k"],
    "0": [0],
    "negative": [-1],
    "a bool for open": [True],
    "a float for open": [1.0],
    "text for open": ["1"],
    "an array for open": [[1]],
    "open with more": [1, 1],
    "append to nothing": [2],
    "append to 0": [2, 0],
    "append to a negative offset": [2, -1],
    "append to a bool": [2, True],
    "append to a float": [2, 1.0],
    "append to text": [2, "1"],
    "append to nil": [2, None],
    "append to 2^63": [2, 2**63],
    "append to 2^64 - 1": [2, 2**64 - 1],
    "append with more": [2, 1, 0],
    "a float for append": [2.0, 1],
    "close without a state": [3, 1],
    "close with more": [3, 1, 1, "why"],
    "close as open": [3, 1, 0],
    "close as interrupted, by a client": [3, 1, 4],
    "close as removed": [3, 1, 5],
    "close as unknown": [3, 1, 6],
    "close as a bool": [3, 1, True],
    "close as a float": [3, 1, 1.0],
    "close as text": [3, 1, "complete"],
    "close of 0": [3, 0, 1],
    "replace of nothing": [4],
    "replace of a bool": [4, True],
    "remove of 0": [5, 0],
    "remove with more": [5, 1, 1],
    "reopen of a negative offset": [6, -1],
    "reopen of nothing": [6],
    "folded, by a client": [7, 1, 1, ""],
    "folded without a reason": [7, 1, 1],
    "folded with a state to come": [7, 1, 6, ""],
    "set without a key": [16],
    "set of an empty key": [16, ""],
    "set of a number": [16, 1],
    "set of bytes": [16, b"k"],
    "set of a key of 256 bytes": [16, "k" * 256],
    "set of a key of 128 letters and 256 bytes": [16, "é" * 128],
    "set of a key with a line break": [16, "a\nb"],
    "set of a key with U+007F": [16, "a\x7f"],
    "set of a negative version": [16, "k", -1],
    "set of a version that is a bool": [16, "k", False],
    "set of a version that is a float": [16, "k", 0.0],
    "set of a version that is nil": [16, "k", None],
    "set of version 2^63": [16, "k", 2**63],
    "set with more": [16, "k", 1, 1],
    "unset without a key": [17],
    "unset of an empty key": [17, ""],
    "unset of a version that is a bool": [17, "k", True],
    "increment by nothing": [18, "k"],
    "increment by a bool": [18, "k", True],
    "increment by a float": [18, "k", 1.5],
    "increment by 2^53": [18, "k", 2**53],
    "increment by -2^53": [18, "k", -(2**53)],
    "increment of an empty key": [18, "", 1],
    "increment with more": [18, "k", 1, 1],
    "lapsed, by a client": [32, "writer", 1],
    "lapsed without a token": [32, "writer"],
}


def _mislabelled() -> dict[str, bytes]:
    """Operations that are right, under labels that they may not have."""
    return {
        "open of JSON": operating([1], encoding=2),
        "append of JSON": operating([2, 1], encoding=2),
        "replace of JSON": operating([4, 1], encoding=2),
        "append with a name": operating([2, 1], name="n"),
        "append with headers": operating([2, 1], headers={"k": "v"}),
        "close with a name": operating([3, 1, 1], name="n"),
        "replace with headers": operating([4, 1], headers={"k": "v"}),
        "remove with a name": operating([5, 1], name=""),
        "reopen with headers": operating([6, 1], headers={"k": "v"}),
    }


TWO_AT_5 = batch.stamp(batch.encode_batch(CLIENT_ID, [("a", None, None), ("b", None, None)]), 5, 1)


def nested_tile(depth: int) -> bytes:
    """A tile in a tile in a tile."""
    tile = make_tile(1, 1, 1, b"")
    for _ in range(depth):
        tile = make_tile(1, 1, 1, tile)
    return tile


def bad_runs() -> dict[str, tuple[bytes, str]]:
    """Stamped batches that a reader must refuse: name: (bytes, error)"""
    whole = batch.stamp(operating([1]), 5, 1)
    tile = make_tile(1, 9, 1, STAMPED)
    later = batch.stamp(BATCH, 9, 1)
    return {
        "a tile in a tile": (make_tile(1, 9, 1, STAMPED + make_tile(2, 3, 1, b"")), "bad_batch"),
        "300 tiles in each other": (nested_tile(300), "bad_batch"),
        "a tile for no offset": (sealed(make_tile(1, 1, 1, b""), 28, bytes(4)), "bad_batch"),
        "a tile with a client": (sealed(tile, 25, b"\5"), "bad_batch"),
        "a tile with reserved bits": (sealed(tile, 26, b"\1"), "bad_batch"),
        "a tile with labels": (sealed(tile, 32, b"\1"), "bad_batch"),
        "a tile that holds what lies before it": (make_tile(2, 9, 1, STAMPED), "bad_batch"),
        "a tile that holds what lies behind it": (make_tile(1, 8, 1, STAMPED + later), "bad_batch"),
        "a tile that holds a batch across its end": (make_tile(5, 5, 1, TWO_AT_5), "bad_batch"),
        "a tile that holds an offset twice": (make_tile(1, 9, 1, STAMPED + STAMPED), "bad_batch"),
        "a tile that holds batches out of order": (make_tile(1, 9, 1, later + STAMPED), "bad_batch"),
        "a tile that holds half a head": (make_tile(1, 9, 1, STAMPED + bytes(20)), "bad_batch"),
        "a tile that holds half a batch": (make_tile(1, 9, 1, STAMPED[:-1]), "bad_batch"),
        "a tile that holds a batch of nothing": (make_tile(1, 9, 1, sealed(STAMPED, 28, bytes(4))), "bad_batch"),
        "a tile whose checksum is changed": (flipped(tile, 4), "bad_checksum"),
        "a tile that holds a changed byte": (make_tile(1, 9, 1, flipped(STAMPED, len(STAMPED) - 1)), "bad_checksum"),
        "a tile that holds an unknown kind": (make_tile(1, 9, 1, sealed(STAMPED, 24, b"\3")), "unsupported_kind"),
        "a session batch whose kind is 0": (sealed(whole, 24, b"\0"), "bad_batch"),
        "an unknown kind": (sealed(STAMPED, 24, b"\3"), "unsupported_kind"),
    }
