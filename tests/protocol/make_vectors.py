"""Writes protocol/vectors/*.json. Run by hand when the protocol changes: python -m tests.protocol.make_vectors

`vectors()` is what the files must hold; test_vectors.py compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgpack
from outlast_protocol import Frame, batch
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Ack,
    Attach,
    Attached,
    Await,
    Claim,
    Claims,
    Configure,
    Connections,
    Credit,
    Cursors,
    Delete,
    Enter,
    Ephemeral,
    Error,
    Hello,
    History,
    Info,
    Lease,
    List,
    Members,
    Open,
    Opened,
    Page,
    Ping,
    Presence,
    Publish,
    Published,
    Reply,
    Resync,
    Revocations,
    Revoke,
    Settle,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Watch,
    Welcome,
    encode,
)
from outlast_protocol.operations import WHOLE_MAX, MessageState, Op, Operation
from outlast_protocol.position import OFFSET_MAX
from outlast_protocol.tile import make_tile

from tests.protocol.bad_batches import bad_batches, bad_runs
from tests.protocol.bad_frames import bad_frame_rows, kind_of, map_frame, sender_of
from tests.support.samples import BATCH, CLIENT_ID, EPOCH, SAMPLES, STAMPED, WELCOME
from tests.support.vectors import FOLDER, frame_to_json, record_to_json, to_json

CLIENT = CLIENT_ID.encode()
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
Row = dict[str, Any]


# --- frames.json ------------------------------------------------------------------------------------------

STATE_ROWS = [["mode", 51, 1_700_000_000_000, "", 2, b"null"], ["Zoë", 2**53, U64_MAX, "agent", 0, b"\0\xff"]]
MEMBER_ROWS = [
    ["agent", U64_MAX, 1, 2, b'{"typing":true}', 1_700_000_000_000, ""],
    ["Zoë", 0, 2, 0, b"", 0, "timed_out"],
]
VARIANTS: dict[str, Frame] = {
    "versions alone": Hello([1]),
    "everything": Hello([1, 2], CLIENT_ID, [U64_MAX, U32_MAX], 60_000, ["later"], "vectors/1", "secret"),
    "features and limits": Welcome(1, "ä😀", 1_000, U64_MAX, ["a", "b"], {"frame_bytes": 65_536, "later": 1}, ""),
    "the end of a token": WELCOME._replace(expires_in_ms=60_000),
    "token 0": Ping(0),
    "highest token": Ping(U64_MAX),
    "no request is to blame": Error(0, 61, "stopping", {"retry_after_ms": 1_000}),
    "detail of both types": Error(2, 30, "stale", {"epoch": "00c0ffee00c0ffee", "last": 3}),
    "do not create": Open(1, "session:42", create=False),
    "channel name in UTF-8": Open(U32_MAX, "Zoë/会話/😀"),
    "empty channel": Opened(1, 9, U64_MAX, 1, 0),
    "everything at its highest": Opened(U32_MAX, U64_MAX, U64_MAX, U64_MAX, U64_MAX),
    "no sequence, no condition": Publish(2, 9, 0, UNCONDITIONAL, 0, BATCH),
    "only into an empty channel": Publish(2, 9, U64_MAX - 1, 0, U64_MAX, BATCH),
    "a duplicate, and one forgotten": Published([(2, 41, True), (3, 0, True)]),
    "many": Published([(n, 2**53 + n, n % 2 == 0) for n in range(1, 9)]),
    "from the earliest": Subscribe(3, 9, 0, start="earliest"),
    "from the latest": Subscribe(3, 9, 2**31 - 1, start="latest"),
    "the last 50": Subscribe(3, 9, 65_536, last=50),
    "since": Subscribe(3, 9, 65_536, since_ms=1_700_000_000_000),
    "after, epoch trusted": Subscribe(3, 9, 65_536, after=42),
    "trimmed": Subscribed(3, 50, EPOCH, 51, 90, "trimmed"),
    "recreated": Subscribed(3, 0, U64_MAX, 1, 0, "recreated"),
    "highest credit": Credit(U64_MAX, U32_MAX),
    "deleted": Resync(9, "deleted", 0, EPOCH),
    "backwards from the end": History(5, 9, 20, backwards=True),
    "backwards before": History(5, 9, before=100, epoch=U64_MAX, backwards=True),
    "the last 10, forwards": History(5, 9, last=10),
    "since, forwards": History(5, 9, since_ms=1_700_000_000_000),
    "forwards after": History(5, 9, 10_000, after=41, epoch=EPOCH),
    "empty": Page(5, 1, 0, 1, 0, b""),
    "deleted for good": Delete(8, "session:42", True),
    "prefix, after and limit": List(7, "session:", "session:42", 10_000),
    "back to the broker's rule": Configure(10, "session:42", {"age_ms": None, "bytes": 0}),
    "a list of channels": Reply(7, {"channels": [{"channel": "a", "epoch": U64_MAX}], "more": False}),
    "nothing": Reply(4, {}),
    "behind a cursor": Subscribe(3, 9, 65_536, start="earliest", cursor="phone"),
    "name in UTF-8, highest offset": Ack(U32_MAX, U64_MAX, "Zoë 📱", U64_MAX),
    "no time to wait": Await(12, 9, "phone", 0, 0),
    "after and limit of cursors": Cursors(13, "session:42", "phone", 1_000),
    "a claim with a nonce": Claim(27, 9, "charge:42", 30_000, U64_MAX),
    "attach after": Attach(15, 9, 65_536, after=42, epoch=U64_MAX),
    "attach from the latest, raw, nobody else": Attach(15, 9, 0, start="latest", raw=True, presence=False),
    "attach since, behind a cursor": Attach(15, 9, 1, since_ms=1_700_000_000_000, cursor="phone"),
    "attached to nothing": Attached(15, 0, 0, U64_MAX, 1, [], []),
    "attached, trimmed": Attached(15, 50, 90, EPOCH, 51, [60, 2**53], STATE_ROWS, "trimmed"),
    "folded": History(5, 9, 20, last=10, fold=True),
    "request 0 is the broker's": Ephemeral(0, U64_MAX, batch.stamp(BATCH, 0, 1_700_000_000_000)),
    "a client's own request": Ephemeral(U32_MAX, 9, BATCH),
    "no data, highest member": Enter(18, 9, U64_MAX),
    "JSON, all the grace there is": Enter(18, 9, 77, 2, b'{"typing":true}', 60_000),
    "behind a member": Members(20, "session:42", CLIENT_ID, U64_MAX, 1_000),
    "counts alone": Watch(21, 9, rows=False),
    "counts change": Presence(9, 20_000, 1),
    "a snapshot begins": Presence(9, 3, 1, MEMBER_ROWS, snapshot=True, more=True),
    "take it over": Lease(23, 9, "Zoë ✍", 3_600_000, take_over=True),
    "a lease with a nonce": Lease(23, 9, "writer", 10_000, nonce=U64_MAX),
    "nothing came of it": Settle(28, 9, "charge:42", U64_MAX),
    "after and limit of claims": Claims(31, "session:42", "charge:42", 1_000),
    "after and limit of connections": Connections(33, 7, 1_000),
    "a subject revoked": Revoke(33, "agent", None, 1_700_000_000_000),
    "a token revoked": Revoke(33, None, "7f3a"),
    "after and limit of revocations": Revocations(34, "agent", 1_000),
    "the state as it is": Reply(17, {"last": U64_MAX, "state": STATE_ROWS}),
    "a lease is granted": Reply(23, {"token": 3, "ttl_ms": 10_000, "holder": ""}),
    "a claim is done": Reply(27, {"status": "done", "attempt": 2, "encoding": 0, "data": b"\0paid", "time_ms": 1}),
}  # fmt: skip


# Bytes that mean a frame although an encoder of ours would write others.
FOREIGN: dict[str, tuple[bytes, Frame]] = {
    "unknown keys": (
        map_frame(0x10, 1, {"later": [{"x": b"y"}], "channel": "c", "request": 5}),
        Open(1, "c"),
    ),
    "defaults written out": (
        map_frame(0x23, 7, {"prefix": "", "after": None, "limit": 100}),
        List(7),
    ),
    "wide msgpack integers": (
        map_frame(0x16, 4, b"\x81\xa6number\xcf\0\0\0\0\0\0\0\x09"),
        Unsubscribe(4, 9),
    ),
    "long msgpack text": (map_frame(0x22, 6, b"\x81\xd9\x07channel\xdb\0\0\0\x01c"), Info(6, "c")),
}  # fmt: skip


def frame_rows() -> Iterable[Row]:
    named = [(f"{kind_of(frame)}: plain", frame) for frame in SAMPLES]
    named += [(f"{kind_of(frame)}: {name}", frame) for name, frame in VARIANTS.items()]
    for name, frame in named:
        yield frame_row(name, encode(frame), frame, True)
    for name, (data, frame) in FOREIGN.items():
        yield frame_row(f"{kind_of(frame)}: {name}", data, frame, False)


def frame_row(name: str, data: bytes, frame: Frame, ours: bool) -> Row:
    return {
        "name": name,
        "from": "both" if kind_of(frame) in {"PING", "PONG", "EPHEMERAL"} else sender_of(frame),
        "type": kind_of(frame),
        "hex": data.hex(),
        "fields": frame_to_json(frame),
        "exact": ours,
    }


# --- batches.json -----------------------------------------------------------------------------------------

Unread = tuple[batch.Data, str | None, batch.Headers | None]
MANY_LABELS: list[Unread] = [
    ("x", "open", {"id": "m1", "a": "ä"}),
    (b"", "", None),
    ("y", None, {"k": ""}),
    ("z", "open", {"id": "m1", "a": "ä"}),
]
MOST_HEADERS = {f"h{n:02}": str(n) for n in range(64)}
BATCHES: dict[str, tuple[str, list[Unread], int, int]] = {
    "one record of bytes": ("agent", [(b"\x00\xff", None, None)], 1, 1_700_000_000_000),
    "an empty record": ("agent", [(b"", None, None)], 2, 0),
    "text": ("agent", [("hi, 😀\0", None, None)], 3, 1),
    "JSON": ("agent", [({"é": [1, 2.5, -0.0, None, True, 10**30]}, None, None)], 4, 2),
    "every encoding, no name": ("agent", [(b"a", None, None), ("b", None, None), (["c"], None, None)], 5, 3),
    "one label for all": ("agent", [(f"t{n}", "delta", {"id": "m1"}) for n in range(4)], 8, 4),
    "many labels": ("agent", MANY_LABELS, 12, 5),
    "the longest name and the most headers": ("agent", [(b"", "n" * 255, MOST_HEADERS)], 16, 6),
    "no client id": ("", [(b"x", None, None)], 17, 7),
    "the longest client id": ("ü" * 64, [(b"x", None, None)], 18, 8),
    "the highest place": ("agent", [(b"x", None, None), (b"y", None, None)], 2**63 - 2, U64_MAX),
    "300 records": ("agent", [(b"", None, None)] * 300, 19, 9),
}  # fmt: skip
# Published bytes that encode_batch would not write, and are right.
FOREIGN_BATCHES: dict[str, bytes] = {
    "the plain label written out": batch.assemble(CLIENT, msgpack.packb([[0]]), 1, b"\x01\0\0\0x"),
    "a label that no record uses": batch.assemble(CLIENT, msgpack.packb([[0], [1, "unused"]]), 1, b"\x01\0\0\0\0\0x"),
    "name is nil, headers are empty": batch.assemble(CLIENT, msgpack.packb([[1, None, {}]]), 1, b"\x01\0\0\0x"),
    "a table as array 32": batch.assemble(CLIENT, b"\xdd\0\0\0\x01\x91\x02", 1, b"\x04\0\0\0null"),
}


Label = batch.LabelKey
PLAIN_TEXT: Label = (1, None, ())


def doing(operation: Operation, encoding: int = 1) -> Label:
    return encoding, None, (), operation, 0


def living(ttl_ms: int) -> Label:
    return 0, None, (), None, ttl_ms


OPEN = Operation(Op.OPEN)
# Batches by their labels, at offset 50: those of kind 1, and what `encode_batch` cannot say.
LABELLED_BATCHES: dict[str, list[tuple[Label, bytes]]] = {
    "open": [(doing(OPEN), b"Once ")],
    "open bytes, with name and headers": [((0, "reply", (("id", "m1"),), OPEN, 0), b"")],
    "append": [(doing(Operation(Op.APPEND, 42)), b"upon "), (doing(Operation(Op.APPEND, 42)), b"a time")],
    "append bytes to the highest offset": [(doing(Operation(Op.APPEND, OFFSET_MAX), 0), b"\xff")],
    "close: complete": [(doing(Operation(Op.CLOSE, 42, MessageState.COMPLETE)), b"")],
    "close: cancelled, with a reason": [(doing(Operation(Op.CLOSE, 42, MessageState.CANCELLED)), "Zoë".encode())],
    "close: error": [(doing(Operation(Op.CLOSE, 42, MessageState.ERROR)), b"no more tokens")],
    "replace": [(doing(Operation(Op.REPLACE, 42)), b"Never")],
    "remove": [(doing(Operation(Op.REMOVE, 42)), b"")],
    "reopen": [(doing(Operation(Op.REOPEN, 42)), b"")],
    "set": [(doing(Operation(Op.SET, key="mode"), 2), b'"draft"')],
    "set if it is not there": [(doing(Operation(Op.SET, key="mode", version=0)), b"draft")],
    "set if it is at the highest version": [(doing(Operation(Op.SET, key="k" * 255, version=OFFSET_MAX), 0), b"\0")],
    "unset": [(doing(Operation(Op.UNSET, key="Zoë/😀")), b"")],
    "unset if it is at a version": [(doing(Operation(Op.UNSET, key="mode", version=7)), b"")],
    "increment": [(doing(Operation(Op.INCREMENT, key="n", by=1)), b""), (doing(Operation(Op.INCREMENT, key="n")), b"")],
    "increment by the most": [(doing(Operation(Op.INCREMENT, key="n", by=WHOLE_MAX)), b"")],
    "increment by the least": [(doing(Operation(Op.INCREMENT, key="n", by=-WHOLE_MAX)), b"")],
    "shortest time to live": [(living(1), b"gone")],
    "longest time to live, with name and headers": [((2, "hint", (("k", "v"),), None, WHOLE_MAX), b"[]")],
    "an operation without content that says JSON": [(doing(Operation(Op.REMOVE, 42), 2), b"")],
    "state with name and headers": [((1, "n", (("k", "v"),), Operation(Op.UNSET, key="mode"), 0), b"")],
    "text that is not UTF-8": [(PLAIN_TEXT, b"a\xffb")],
    "everything at once": [
        (PLAIN_TEXT, b"hi"),
        (doing(OPEN), b""),
        (living(60_000), b"soon gone"),
        (doing(Operation(Op.APPEND, 42)), b"x"),
        (doing(Operation(Op.SET, key="mode")), b"on"),
        (doing(Operation(Op.APPEND, 42)), b"y"),
    ],
}  # fmt: skip
FOREIGN_SESSION_BATCHES: dict[str, bytes] = {
    "kind 1 that nothing asks for": batch.assemble(CLIENT, b"", 1, b"\x01\0\0\0x", batch.KIND_SESSION),
    "an operation that is nil": batch.assemble(
        CLIENT, msgpack.packb([[1, None, {}, None]]), 1, b"\x01\0\0\0x", batch.KIND_SESSION
    ),
    "an operation in wide integers": batch.assemble(
        CLIENT, b"\x91\x94\x01\xc0\x80\x92\xcd\0\x02\xd3\0\0\0\0\0\0\0\x2a", 1, b"\x01\0\0\0x", batch.KIND_SESSION
    ),
}  # fmt: skip


def batch_rows() -> Iterable[Row]:
    for name, (client_id, records, offset, time_ms) in BATCHES.items():
        yield batch_row(name, client_id, batch.encode_batch(client_id, records), offset, time_ms, True)
    for name, rows in LABELLED_BATCHES.items():
        yield batch_row(name, CLIENT_ID, batch.encode_labelled(CLIENT_ID, rows), 50, 1_700_000_000_000, True)
    for name, published in {**FOREIGN_BATCHES, **FOREIGN_SESSION_BATCHES}.items():
        yield batch_row(name, CLIENT_ID, published, 1, 1, False)


def batch_row(name: str, client_id: str, published: bytes, offset: int, time_ms: int, ours: bool) -> Row:
    stamped = batch.stamp(published, offset, time_ms)
    return {
        "name": name,
        "client_id": client_id,
        "published": published.hex(),
        "stamp": to_json({"offset": offset, "time_ms": time_ms}),
        "stamped": stamped.hex(),
        "records": [record_to_json(record) for record in batch.read_records(stamped)],
        "exact": ours,
    }


def at(offset: int, *rows: tuple[Label, bytes], client_id: str = CLIENT_ID) -> bytes:
    return batch.stamp(batch.encode_labelled(client_id, rows), offset, 1_700_000_000_000 + offset)


def folded(message: int, state: MessageState, reason: str, place: int, content: bytes) -> bytes:
    label: Label = (1, "reply", (("id", "m1"),), Operation(Op.FOLDED, message, state, reason), 0)
    return at(place, (label, content))


def runs() -> dict[str, bytes]:
    """Several stamped batches end to end, as DELIVER and PAGE carry them."""
    other = batch.stamp(batch.encode_batch("human", [("a", None, None), ("b", "reply", None)]), 2, 1)
    plain = (PLAIN_TEXT, b"hi")
    interrupted = doing(Operation(Op.CLOSE, 3, MessageState.INTERRUPTED))
    lapsed = doing(Operation(Op.LAPSED, lease="writer", token=7))
    whole = folded(3, MessageState.COMPLETE, "", 9, b"Once upon a time")
    return {
        "two publishers": STAMPED + other,
        "none": b"",
        "a lease lapses": at(5, (interrupted, b"writer"), (lapsed, b""), client_id=""),
        "a message as far as it is open": folded(3, MessageState.OPEN, "", 7, b"Once upon"),
        "a message that was cancelled": folded(3, MessageState.CANCELLED, "Zoë said so", 9, b"Once"),
        "a message that failed": folded(3, MessageState.ERROR, "no more tokens", 9, b""),
        "a message that was interrupted": folded(3, MessageState.INTERRUPTED, "writer", 9, b"Once"),
        "a message that is removed": folded(3, MessageState.REMOVED, "", 10, b""),
        "a message at the highest offset": folded(OFFSET_MAX - 1, MessageState.OPEN, "", OFFSET_MAX, b"x"),
        "an empty tile": make_tile(1, 1, 1, b""),
        "an empty tile of 2^32 - 1 offsets": make_tile(1, U32_MAX, U64_MAX, b""),
        "a tile without gaps": make_tile(1, 3, 1, STAMPED + other),
        "a tile with a gap before": make_tile(1, 5, 9, at(5, plain)),
        "a tile with a gap behind": make_tile(5, 500, 9, at(5, plain)),
        "a tile with gaps all around": make_tile(1, 9, 9, at(3, plain, plain) + at(7, plain)),
        "a tile with a folded message": make_tile(2, 9, 1_700_000_000_009, at(2, plain) + whole),
        "two tiles and a batch": make_tile(1, 4, 1, at(2, plain)) + make_tile(5, 9, 1, whole) + at(10, plain),
    }


def run_rows() -> Iterable[Row]:
    for name, run in runs().items():
        spans = [[span.offset, span.last] for span in batch.spans(run)]
        records = [record_to_json(record) for record in batch.read_records(run)]
        yield {"name": name, "hex": run.hex(), "spans": to_json(spans), "records": records}


# --- malformed.json ----------------------------------------------------------------------------------------


def bad_run_rows() -> Iterable[Row]:
    for name, (run, error) in bad_runs().items():
        yield {"name": name, "hex": run.hex(), "error": error}


def bad_batch_rows() -> Iterable[Row]:
    for name, (data, error) in bad_batches().items():
        yield {"name": name, "client_id": CLIENT_ID, "hex": data.hex(), "error": error, "fatal": False}


# --- positions.json ---------------------------------------------------------------------------------------

GOOD_POSITIONS = [(0x00C0FFEE00C0FFEE, 42), (0, 0), (1, 1), (U64_MAX, 2**63 - 1), (2**53, 2**53)]
BAD_POSITIONS = {
    "empty": "",
    "no epoch": "42",
    "no offset": "00c0ffee00c0ffee:",
    "15 digits": "0c0ffee00c0ffee:42",
    "17 digits": "000c0ffee00c0ffee:42",
    "upper case": "00C0FFEE00C0FFEE:42",
    "no hexadecimal digit": "00c0ffee00c0ffeg:42",
    "leading zero": "00c0ffee00c0ffee:042",
    "sign": "00c0ffee00c0ffee:+42",
    "negative": "00c0ffee00c0ffee:-1",
    "underscore": "00c0ffee00c0ffee:4_2",
    "fraction": "00c0ffee00c0ffee:4.2",
    "offset 2^63": "00c0ffee00c0ffee:9223372036854775808",
    "offset of 20 digits": "00c0ffee00c0ffee:10000000000000000000",
    "space before": " 00c0ffee00c0ffee:42",
    "space after": "00c0ffee00c0ffee:42 ",
    "line break after": "00c0ffee00c0ffee:42\n",
    "digits of another script": "00c0ffee00c0ffee:٤٢",
    "prefix": "0x00c0ffee00c0ffee:42",
    "two offsets": "00c0ffee00c0ffee:42:43",
}


def positions() -> dict[str, list[Row]]:
    good = [
        {"text": f"{epoch:016x}:{offset}", **to_json({"epoch": epoch, "offset": offset})}
        for epoch, offset in GOOD_POSITIONS
    ]
    return {"good": good, "bad": [{"name": name, "text": text} for name, text in BAD_POSITIONS.items()]}


# --- files ------------------------------------------------------------------------------------------------


def vectors() -> dict[str, str]:
    """The text of every file, by its name."""
    malformed = {"frames": bad_frame_rows(), "batches": bad_batch_rows(), "runs": bad_run_rows()}
    contents: dict[str, dict[str, Any]] = {
        "frames.json": {"frames": list(frame_rows())},
        "batches.json": {"batches": list(batch_rows()), "runs": list(run_rows())},
        "malformed.json": {key: list(rows) for key, rows in malformed.items()},
        "positions.json": positions(),
    }
    return {name: lines_of(content) for name, content in contents.items()}


def lines_of(content: dict[str, list[Row]]) -> str:
    """JSON with one row a line, so that changes can be read."""
    parts = []
    for key, rows in content.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    for file_name, text in vectors().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
