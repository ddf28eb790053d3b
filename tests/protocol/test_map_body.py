from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from outlast_protocol import ErrorCode, Frame, Malformed, ProtocolError, limits
from outlast_protocol.frames import (
    BY_CLASS,
    BY_NUMBER,
    HEADER,
    HEADER_BYTES,
    Configure,
    Credit,
    Deliver,
    Ephemeral,
    Hello,
    List,
    Open,
    Page,
    Ping,
    Pong,
    Publish,
    Published,
    Reply,
    Subscribe,
    Welcome,
    encode,
)

from tests.support.samples import SAMPLES


def decode(data: bytes) -> Any:
    return BY_NUMBER[data[4]].decode(data, 0, len(data))


def map_frame(cls: type[Any], body: object, request: int = 7) -> bytes:
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    head = request.to_bytes(4, "little") if "request" in cls._fields else b""
    return HEADER.pack(HEADER_BYTES + len(head) + len(packed), BY_CLASS[cls].number, 0, 0) + head + packed


def refused(cls: type[Any], body: object) -> ProtocolError:
    """Why the body is refused, with the request number that the answer needs."""
    malformed = decode(map_frame(cls, body))
    assert isinstance(malformed, Malformed)
    assert malformed.request == (7 if "request" in cls._fields else 0)
    assert malformed.error.code is ErrorCode.BAD_BODY
    return malformed.error


# --- maps -------------------------------------------------------------------------------------------------


def test_fields_at_their_defaults_are_not_written() -> None:
    assert encode(List(7))[HEADER_BYTES + 4 :] == b"\x80"
    assert msgpack.unpackb(encode(Open(1, "c", create=False))[HEADER_BYTES + 4 :]) == {
        "channel": "c",
        "create": False,
    }


def test_defaults_that_are_written_mean_the_same() -> None:
    assert decode(map_frame(Open, {"channel": "c", "create": True})) == Open(7, "c")
    assert decode(map_frame(Subscribe, {"number": 1, "credit": 1, "after": None})) == Subscribe(7, 1, 1)


def test_unknown_keys_are_ignored_whatever_they_hold() -> None:
    body = {"channel": "c", "later": [{"x": b"y"}], "request": 99}
    assert decode(map_frame(Open, body)) == Open(7, "c")


FIXED = (Ping, Pong, Publish, Published, Credit, Deliver, Ephemeral, Page)
REQUIRED = [
    (frame, name)
    for frame in SAMPLES
    if not isinstance(frame, (Hello, Welcome, *FIXED))
    for name in frame._fields
    if name != "request" and name not in frame._field_defaults
]


@pytest.mark.parametrize(("frame", "name"), REQUIRED)
def test_every_key_without_default_is_required(frame: Frame, name: str) -> None:
    body = {key: value for key, value in frame._asdict().items() if key not in {"request", name}}
    assert f": {name} missing" in refused(type(frame), body).message


@pytest.mark.parametrize(
    ("cls", "wrong", "body"),
    [
        (Open, "channel", {"channel": 1}),
        (Open, "channel", {"channel": b"c"}),
        (Open, "channel", {"channel": None}),
        (Open, "create", {"channel": "c", "create": 1}),
        (Subscribe, "number", {"number": -1, "credit": 1}),
        (Subscribe, "number", {"number": 1.0, "credit": 1}),
        (Subscribe, "number", {"number": True, "credit": 1}),
        (Subscribe, "number", {"number": "1", "credit": 1}),
        (Subscribe, "start", {"number": 1, "credit": 1, "start": 5}),
        (Configure, "retention", {"channel": "c", "retention": []}),
        (Configure, "retention", {"channel": "c", "retention": {"records": "many"}}),
        (Configure, "retention", {"channel": "c", "retention": {"records": -1}}),
        (Reply, "result", {"result": []}),
    ],
)
def test_wrong_types_are_named(cls: type[Any], wrong: str, body: dict[str, object]) -> None:
    assert f"{cls.__name__.upper()}: {wrong} is " in refused(cls, body).message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80\x80",
        b"\x81\xa7channel",
        b"\x81\xa7channel\xa5abc",
        b"\x81\xa7channel\xa2\xff\xff",
        b"\x81\xa7channel\xdb\xff\xff\xff\xff",
        b"\x81\xa7channel\xdd\xff\xff\xff\xff",
        b"\x81\xa7channel\xdf\xff\xff\xff\xff",
        b"\x81\xa7channel\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa7channel\xd6\xff\0\0\0\0",
        [],
        "channel",
        7,
        None,
        {1: 2},
        {b"channel": "c"},
    ],
    ids=lambda body: body.hex() if isinstance(body, bytes) else repr(body),
)
def test_what_is_no_map_with_text_keys_is_refused(body: object) -> None:
    refused(Open, body)


# --- hostile maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [100, 500, 990, 1_010, 1_020, 1_022, 1_023, 1_024, 5_000, 60_000])
@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1k"], ids=["arrays", "maps"])
def test_nesting_of_any_depth_is_a_bad_body(depth: int, opener: bytes) -> None:
    refused(Open, b"\x81\xa7channel" + opener * depth + b"\xc0")


def test_a_refusal_repeats_only_the_beginning_of_what_was_sent() -> None:
    for value in ("x" * 60_000, [[1] * 60_000], {"k": "x" * 60_000}, b"x" * 60_000):
        assert len(refused(Open, {"channel": "c", "create": value}).message) < 120


@pytest.mark.parametrize("claim", [b"\xdc\xff\xff", b"\xdd\x00\x00\xff\xff", b"\xdc\x04\x00"])
def test_arrays_that_claim_much_and_hold_nothing_cost_little(claim: bytes) -> None:
    data = map_frame(Open, b"\x81\xa7channel" + claim * 1_020)
    tracemalloc.start()
    try:
        decode(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_reply_may_hold_as_many_rows_as_a_page() -> None:
    rows = [{"channel": str(n)} for n in range(limits.PAGE_RECORDS_MAX)]
    assert decode(encode(Reply(1, {"channels": rows}))).result["channels"] == rows
