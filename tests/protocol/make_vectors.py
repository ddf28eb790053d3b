"""Writes protocol/vectors/*.json. Run by hand when the protocol changes: python -m tests.protocol.make_vectors

`vectors()` is what the files must hold; test_vectors.py compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgpack
from outlast_protocol import Frame, Role, State, batch
from outlast_protocol.frames import (
    BY_CLASS,
    HEADER,
    MAGIC,
    UNCONDITIONAL,
    Ack,
    Attach,
    Attached,
    Await,
    Claims,
    Configure,
    Credit,
    Cursors,
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
from tests.support.samples import BATCH, CLIENT_ID, EPOCH, HELLO, SAMPLES, STAMPED, WELCOME
from tests.support.vectors import FOLDER, ROLES, frame_to_json, record_to_json, to_json

CLIENT = CLIENT_ID.encode()
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
Row = dict[str, Any]


def kind_of(frame: Frame) -> str:
    return type(frame).__name__.upper()


def sender_of(frame: Frame) -> str:
    return "client" if BY_CLASS[type(frame)].sender & Role.CLIENT else "broker"


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
    "prefix, after and limit": List(7, "session:", "session:42", 10_000),
    "back to the broker's rule": Configure(10, "session:42", {"age_ms": None, "bytes": 0}),
    "a list of channels": Reply(7, {"channels": [{"channel": "a", "epoch": U64_MAX}], "more": False}),
    "nothing": Reply(4, {}),
    "behind a cursor": Subscribe(3, 9, 65_536, start="earliest", cursor="phone"),
    "name in UTF-8, highest offset": Ack(U32_MAX, U64_MAX, "Zoë 📱", U64_MAX),
    "no time to wait": Await(12, 9, "phone", 0, 0),
    "after and limit of cursors": Cursors(13, "session:42", "phone", 1_000),
    "attach after": Attach(15, 9, 65_536, after=42, epoch=U64_MAX),
    "attach from the latest, raw, nobody else": Attach(15, 9, 0, start="latest", raw=True, presence=False),
    "attach since, behind a cursor": Attach(15, 9, 1, since_ms=1_700_000_000_000, cursor="phone"),
    "attached to nothing": Attached(15, 0, 0, U64_MAX, 1, 0, [], []),
    "attached, trimmed": Attached(15, 50, 90, EPOCH, 51, 90, [60, 2**53], STATE_ROWS, "trimmed"),
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
    "nothing came of it": Settle(28, 9, "charge:42", U64_MAX),
    "after and limit of claims": Claims(31, "session:42", "charge:42", 1_000),
    "the state as it is": Reply(17, {"last": U64_MAX, "state": STATE_ROWS}),
    "a lease is granted": Reply(23, {"token": 3, "ttl_ms": 10_000, "holder": ""}),
    "a claim is done": Reply(27, {"status": "done", "attempt": 2, "encoding": 0, "data": b"\0paid", "time_ms": 1}),
}  # fmt: skip


def map_frame(number: int, request: int | None, body: object) -> bytes:
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    content = (b"" if request is None else request.to_bytes(4, "little")) + packed
    return HEADER.pack(8 + len(content), number, 0, 0) + content


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


# --- malformed.json ---------------------------------------------------------------------------------------


def header(length: int, number: int, flags: int = 0, reserved: int = 0) -> bytes:
    return HEADER.pack(length, number, flags, reserved)


def bad(name: str, sender: str, state: State, error: str, data: bytes, request: int | None = None) -> Row:
    row: Row = {"name": name, "from": sender, "state": state.value, "hex": data.hex(), "error": error}
    row["fatal"] = request is None
    return row if request is None else {**row, "request": request}


def first_bytes_rows() -> Iterable[Row]:
    hello = encode(HELLO)
    wrong = {
        "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "bad_magic"),
        "TLS": (bytes.fromhex("1603010200010001fc0303"), "bad_magic"),
        "zeros": (bytes(8), "bad_magic"),
        "HELLO without the magic word": (hello[:8] + b"HTTP" + hello[12:], "bad_magic"),
        "HELLO too short": (header(11, 0x01), "bad_frame"),
        "HELLO too long": (header(16_385, 0x01), "frame_too_large"),
        "HELLO with a flag": (header(20, 0x01, flags=1), "bad_frame"),
        "HELLO without a body": (header(12, 0x01) + MAGIC, "bad_body"),
    }
    for name, (data, error) in wrong.items():
        yield bad(name, "client", State.CONNECTING, error, data)
    for name, body in HELLO_BODIES.items():
        yield bad(f"HELLO: {name}", "client", State.CONNECTING, "bad_body", map_frame(0x01, None, MAGIC + body))
    yield bad("WELCOME without keys", "broker", State.GREETED, "bad_body", map_frame(0x02, None, {}))


HELLO_BODIES: dict[str, bytes] = {
    name: msgpack.packb(body)
    for name, body in {
        "no versions": {},
        "versions is one number": {"versions": 1},
        "producer of one number": {"versions": [1], "producer": [7]},
        "producer with a negative epoch": {"versions": [1], "producer": [7, -1]},
        "client_id is bytes": {"versions": [1], "client_id": b"agent"},
        "heartbeat_ms is a float": {"versions": [1], "heartbeat_ms": 1.5},
        "an array": [1],
    }.items()
}


def header_rows() -> Iterable[Row]:
    for frame in SAMPLES:
        if frame in (HELLO, WELCOME):
            continue
        spec, kind = BY_CLASS[type(frame)], kind_of(frame)
        sender = sender_of(frame)
        for length, error in ((spec.bytes_max + 1, "frame_too_large"), (7, "bad_frame")):
            name = f"{kind}: header says {length} bytes"
            yield bad(name, sender, State.OPEN, error, header(length, spec.number))
    yield bad("PUBLISH of 4 GiB", "client", State.OPEN, "frame_too_large", header(U32_MAX, 0x12))
    yield bad("PUBLISH without a batch", "client", State.OPEN, "bad_frame", header(36, 0x12))
    yield bad("DELIVER without a batch", "broker", State.OPEN, "bad_frame", header(16, 0x19))
    yield bad("PUBLISHED of nothing", "broker", State.OPEN, "bad_frame", header(8, 0x13))
    yield bad("half an acknowledgement", "broker", State.OPEN, "bad_frame", header(32, 0x13) + bytes(24))
    yield bad("a flag is set", "client", State.OPEN, "bad_frame", header(16, 0x03, flags=0x80))
    yield bad("reserved bits are set", "client", State.OPEN, "bad_frame", header(16, 0x03, reserved=1))
    yield bad("EPHEMERAL without a batch", "client", State.OPEN, "bad_frame", header(20, 0x1C))
    yield bad("PUBLISH of half a head", "client", State.OPEN, "bad_frame", header(44 + 35, 0x12))
    for number in (0x00, 0x07, 0x1D, 0x29, 0x34, 0x46, 0x54, 0x5D, 0xFF):
        yield bad(f"unknown frame 0x{number:02x}", "client", State.OPEN, "unknown_frame", header(16, number))


def misplaced_rows() -> Iterable[Row]:
    """Every frame in every state where it is out of place; its header is enough to refuse it."""
    for state in (State.CONNECTING, State.GREETED, State.OPEN, State.LEAVING):
        for frame in SAMPLES:
            for sender, role in ROLES.items():
                if not fits(frame, role, state):
                    name = f"{kind_of(frame)} from the {sender} while {state.value}"
                    yield bad(name, sender, state, "unexpected_frame", encode(frame)[:8])


def fits(frame: Frame, sender: Role, state: State) -> bool:
    kind = kind_of(frame)
    if not BY_CLASS[type(frame)].sender & sender:
        return False
    if state is State.CONNECTING:
        return kind == "HELLO" or kind == "ERROR"
    if state is State.GREETED:
        return kind == "WELCOME" or kind == "ERROR"
    return kind not in {"HELLO", "WELCOME"}


CHANNEL = b"\x81\xa7channel"
BODIES: dict[str, object] = {
    "nothing": b"",
    "a byte that msgpack never uses": b"\xc1",
    "cut off in a key": b"\x81\xa7chan",
    "cut off before a value": CHANNEL,
    "cut off in a value": CHANNEL + b"\xa5abc",
    "bytes after the map": b"\x81\xa7channel\xa1c\xc0",
    "an array": ["channel", "c"],
    "nil": None,
    "a number": 7,
    "a key that is a number": {1: "c"},
    "a key that is bytes": {b"channel": "c"},
    "text that is not UTF-8": CHANNEL + b"\xa2\xff\xff",
    "an extension type": CHANNEL + b"\xd4\x01\x00",
    "a timestamp": CHANNEL + b"\xd6\xff\0\0\0\0",
    "the required key is missing": {},
    "nil for a required key": {"channel": None},
    "a number for text": {"channel": 7},
    "bytes for text": {"channel": b"c"},
    "a number for a bool": {"channel": "c", "create": 1},
    "arrays 900 deep": CHANNEL + b"\x91" * 900 + b"\xc0",
    "arrays 1022 deep": CHANNEL + b"\x91" * 1_022 + b"\xc0",
    "arrays 5000 deep": CHANNEL + b"\x91" * 5_000,
    "maps 1022 deep": CHANNEL + b"\x81\xa1k" * 1_022 + b"\xc0",
    "an array of 4 G items": CHANNEL + b"\xdd\xff\xff\xff\xff",
    "a map of 4 G keys": b"\xdf\xff\xff\xff\xff",
    "a text of 4 GiB": CHANNEL + b"\xdb\xff\xff\xff\xff",
    "bytes of 4 GiB": CHANNEL + b"\xc6\xff\xff\xff\xff",
    "an extension of 4 GiB": CHANNEL + b"\xc9\xff\xff\xff\xff\x01",
    "arrays of 65535 items, 500 deep": CHANNEL + b"\xdc\xff\xff" * 500,
}


def body_rows() -> Iterable[Row]:
    """Well framed and saying nothing valid: refused alone, under the request's number."""
    for name, body in BODIES.items():
        yield bad(f"OPEN: {name}", "client", State.OPEN, "bad_body", map_frame(0x10, 7, body), 7)
    numbers = {"negative": -1, "a float": 1.0, "a bool": True, "text": "9", "nil": None}
    for name, number in numbers.items():
        body = {"number": number, "credit": 1}
        row_name = f"SUBSCRIBE: a number that is {name}"
        yield bad(row_name, "client", State.OPEN, "bad_body", map_frame(0x14, 7, body), 7)
    for name, retention in {"an array": [], "text": {"records": "9"}, "negative": {"bytes": -1}}.items():
        body = {"channel": "c", "retention": retention}
        row_name = f"CONFIGURE: retention that is {name}"
        yield bad(row_name, "client", State.OPEN, "bad_body", map_frame(0x26, 7, body), 7)
    for name, (number, wrong) in {**CURSOR_BODIES, **SESSION_BODIES}.items():
        yield bad(name, "client", State.OPEN, "bad_body", map_frame(number, 7, wrong), 7)
    for name, (number, wrong) in BROKER_BODIES.items():
        request = None if name.startswith("PRESENCE") else 7
        yield bad(name, "broker", State.OPEN, "bad_body", map_frame(number, request, wrong), request or 0)
    yield bad("REPLY: result missing", "broker", State.OPEN, "bad_body", map_frame(0x2F, 7, {}), 7)
    yield bad("GOAWAY: keys missing", "broker", State.OPEN, "bad_body", map_frame(0x05, None, {}), 0)


CURSOR = {"number": 9, "cursor": "phone"}
CURSOR_BODIES: dict[str, tuple[int, object]] = {
    "ACK: cursor missing": (0x30, {"number": 9, "offset": 1}),
    "ACK: offset missing": (0x30, CURSOR),
    "ACK: a negative offset": (0x30, {**CURSOR, "offset": -1}),
    "ACK: cursor is bytes": (0x30, {**CURSOR, "cursor": b"phone", "offset": 1}),
    "AWAIT: timeout_ms missing": (0x31, {**CURSOR, "offset": 1}),
    "AWAIT: timeout_ms is a float": (0x31, {**CURSOR, "offset": 1, "timeout_ms": 0.5}),
    "CURSORS: a number for a name": (0x32, {"channel": 9}),
    "FORGET: cursor missing": (0x33, {"channel": "c"}),
    "SUBSCRIBE: cursor is a number": (0x14, {"number": 9, "credit": 1, "start": "latest", "cursor": 7}),
}
SESSION_BODIES: dict[str, tuple[int, object]] = {
    "ATTACH: credit missing": (0x17, {"number": 9, "start": "latest"}),
    "ATTACH: raw is a number": (0x17, {"number": 9, "credit": 1, "raw": 1}),
    "ATTACH: presence is text": (0x17, {"number": 9, "credit": 1, "presence": "yes"}),
    "ATTACH: last is negative": (0x17, {"number": 9, "credit": 1, "last": -1}),
    "HISTORY: fold is a number": (0x20, {"number": 9, "fold": 1}),
    "MESSAGE: message missing": (0x27, {"number": 9}),
    "MESSAGE: message is a bool": (0x27, {"number": 9, "message": True}),
    "STATE: a number for a name": (0x28, {"channel": 9}),
    "ENTER: member missing": (0x40, {"number": 9}),
    "ENTER: member is text": (0x40, {"number": 9, "member": "77"}),
    "ENTER: data is text": (0x40, {"number": 9, "member": 77, "data": "typing"}),
    "ENTER: data is an array": (0x40, {"number": 9, "member": 77, "data": [1]}),
    "ENTER: grace_ms is negative": (0x40, {"number": 9, "member": 77, "grace_ms": -1}),
    "LEAVE: member missing": (0x41, {"number": 9}),
    "MEMBERS: after_member is text": (0x42, {"channel": "c", "after_client": "a", "after_member": "1"}),
    "WATCH: rows is nil": (0x43, {"number": 9, "rows": None}),
    "UNWATCH: number missing": (0x44, {}),
    "LEASE: ttl_ms missing": (0x50, {"number": 9, "lease": "writer"}),
    "LEASE: ttl_ms is a float": (0x50, {"number": 9, "lease": "writer", "ttl_ms": 1e4}),
    "LEASE: a number for a name": (0x50, {"number": 9, "lease": 1, "ttl_ms": 10_000}),
    "LEASE: take_over is a number": (0x50, {"number": 9, "lease": "writer", "ttl_ms": 10_000, "take_over": 1}),
    "RENEW: token missing": (0x51, {"number": 9}),
    "RENEW: a negative token": (0x51, {"number": 9, "token": -1}),
    "RELEASE: token is text": (0x52, {"number": 9, "token": "1"}),
    "LEASES: channel missing": (0x53, {}),
    "CLAIM: key is bytes": (0x58, {"number": 9, "key": b"charge:42", "ttl_ms": 30_000}),
    "CLAIM: ttl_ms missing": (0x58, {"number": 9, "key": "charge:42"}),
    "SETTLE: token missing": (0x59, {"number": 9, "key": "charge:42"}),
    "SETTLE: data is a map": (0x59, {"number": 9, "key": "charge:42", "token": 1, "data": {}}),
    "SETTLE: encoding is negative": (0x59, {"number": 9, "key": "charge:42", "token": 1, "encoding": -1}),
    "EXTEND: key missing": (0x5A, {"number": 9, "token": 1}),
    "ABANDON: token is a bool": (0x5B, {"number": 9, "key": "charge:42", "token": True}),
    "CLAIMS: limit is text": (0x5C, {"channel": "c", "limit": "100"}),
}
PLACE = {"after": 0, "through": 1, "epoch": 1, "first": 1, "last": 1}
BROKER_BODIES: dict[str, tuple[int, object]] = {
    "ATTACHED: state missing": (0x1B, {**PLACE, "messages": []}),
    "ATTACHED: messages are text": (0x1B, {**PLACE, "messages": ["1"], "state": []}),
    "ATTACHED: state is a map": (0x1B, {**PLACE, "messages": [], "state": {}}),
    "PRESENCE: counts missing": (0x45, {"number": 9}),
    "PRESENCE: members are a map": (0x45, {"number": 9, "present": 1, "away": 0, "members": {}}),
    "PRESENCE: snapshot is a number": (0x45, {"number": 9, "present": 1, "away": 0, "snapshot": 1}),
}


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
    malformed = [*first_bytes_rows(), *header_rows(), *misplaced_rows(), *body_rows()]
    contents: dict[str, dict[str, Any]] = {
        "frames.json": {"frames": list(frame_rows())},
        "batches.json": {"batches": list(batch_rows()), "runs": list(run_rows())},
        "malformed.json": {"frames": malformed, "batches": list(bad_batch_rows()), "runs": list(bad_run_rows())},
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
