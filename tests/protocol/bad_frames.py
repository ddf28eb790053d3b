"""Bytes that a receiver must refuse, as malformed.json has them: beginnings, headers, frames out of place, bodies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack
from outlast_protocol import Frame, Role, State
from outlast_protocol.frames import BY_CLASS, HEADER, MAGIC, encode

from tests.support.samples import HELLO, SAMPLES, WELCOME
from tests.support.vectors import ROLES

U32_MAX = 2**32 - 1
Row = dict[str, Any]


def kind_of(frame: Frame) -> str:
    return type(frame).__name__.upper()


def sender_of(frame: Frame) -> str:
    return "client" if BY_CLASS[type(frame)].sender & Role.CLIENT else "broker"


def map_frame(number: int, request: int | None, body: object) -> bytes:
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    content = (b"" if request is None else request.to_bytes(4, "little")) + packed
    return HEADER.pack(8 + len(content), number, 0, 0) + content


def bad_frame_rows() -> Iterable[Row]:
    yield from first_bytes_rows()
    yield from header_rows()
    yield from misplaced_rows()
    yield from body_rows()


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
    for number in (0x00, 0x08, 0x1D, 0x2A, 0x34, 0x46, 0x54, 0x5D, 0xFF):
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
