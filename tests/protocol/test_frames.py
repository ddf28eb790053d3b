from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from outlast_protocol import ErrorCode, Frame, Malformed, ProtocolError, batch, limits
from outlast_protocol.frames import (
    BY_CLASS,
    BY_NUMBER,
    BYTES_MIN,
    DELIVER,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    PUBLISHED,
    SPECS,
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
    ack_word,
    deliver_head,
    encode,
    encode_acks,
)

from tests.support.bounds import bounded
from tests.support.samples import BATCH, SAMPLES, STAMPED
from tests.support.strategies import frames

U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


def decode(data: bytes) -> Any:
    return BY_NUMBER[data[4]].decode(data, 0, len(data))


def framed(number: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER_BYTES + len(body), number, 0, 0) + body


def map_frame(cls: type[Any], body: object, request: int = 7) -> bytes:
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    head = request.to_bytes(4, "little") if "request" in cls._fields else b""
    return framed(BY_CLASS[cls].number, (MAGIC if cls is Hello else head) + packed)


def refused(cls: type[Any], body: object) -> ProtocolError:
    """Why the body is refused, with the request number that the answer needs."""
    malformed = decode(map_frame(cls, body))
    assert isinstance(malformed, Malformed)
    assert malformed.request == (7 if "request" in cls._fields else 0)
    assert malformed.error.code is ErrorCode.BAD_BODY
    return malformed.error


# --- every frame ------------------------------------------------------------------------------------------


def test_there_is_a_sample_of_every_frame() -> None:
    assert {type(frame) for frame in SAMPLES} == set(BY_CLASS)


@pytest.mark.parametrize("frame", SAMPLES, ids=lambda frame: type(frame).__name__)
def test_a_frame_says_its_own_length_and_type_and_comes_back(frame: Frame) -> None:
    data = encode(frame)
    spec = BY_CLASS[type(frame)]
    assert HEADER.unpack_from(data) == (len(data), spec.number, 0, 0)
    assert BYTES_MIN[spec.number] <= len(data) <= spec.bytes_max
    assert decode(data) == frame and type(decode(data)) is type(frame)


@bounded(400)
@given(frames())
def test_every_frame_comes_back(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize("frame", SAMPLES, ids=lambda frame: type(frame).__name__)
def test_a_frame_is_read_wherever_it_lies(frame: Frame) -> None:
    data = encode(frame)
    spec = BY_CLASS[type(frame)]
    assert spec.decode(b"\xff" * 5 + data + b"\xff" * 5, 5, 5 + len(data)) == frame


def test_numbers_and_classes_are_not_used_twice() -> None:
    assert len(BY_NUMBER) == len(BY_CLASS) == len(SPECS)


@pytest.mark.parametrize(
    "frame",
    [
        Ping(U64_MAX),
        Credit(U64_MAX, U32_MAX),
        Publish(U32_MAX, U64_MAX, U64_MAX, U64_MAX, U64_MAX, BATCH),
        Page(U32_MAX, U64_MAX, U64_MAX, U64_MAX, U64_MAX, b""),
        Published([(U32_MAX, U64_MAX, True)]),
        Published([(0, 0, True), (U32_MAX, 0, False)]),
        Subscribe(U32_MAX, U64_MAX, U64_MAX, after=U64_MAX),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_the_largest_and_smallest_numbers_travel(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


# --- fixed bodies -----------------------------------------------------------------------------------------


def test_acknowledgements_can_be_written_from_words() -> None:
    words = [ack_word(2, False), 10, ack_word(3, True), 4]
    assert encode_acks(words) == encode(Published([(2, 10, False), (3, 4, True)]))
    assert encode_acks(words)[4] == PUBLISHED


def test_a_deliver_head_goes_before_any_batches() -> None:
    assert deliver_head(9, len(STAMPED)) + STAMPED == encode(Deliver(9, STAMPED))
    assert deliver_head(9, 0)[4] == DELIVER


def test_half_an_acknowledgement_is_a_bad_frame() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(framed(PUBLISHED, bytes(24)))
    assert caught.value.code is ErrorCode.BAD_FRAME


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


# --- HELLO and WELCOME: nothing goes on without them ------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        {},
        {"versions": 1},
        {"versions": ["1"]},
        {"versions": [1], "producer": [7]},
        {"versions": [1], "producer": [7, 0, 0]},
        {"versions": [1], "producer": [7, "0"]},
        {"versions": [1], "client_id": 5},
    ],
)
def test_a_hello_that_says_nothing_valid_ends_the_connection(body: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(map_frame(Hello, body))
    assert caught.value.code is ErrorCode.BAD_BODY


def test_a_hello_without_the_magic_word_is_another_protocol() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(framed(0x01, b"HTTP" + msgpack.packb({"versions": [1]})))
    assert caught.value.code is ErrorCode.BAD_MAGIC


def test_a_welcome_that_says_nothing_valid_ends_the_connection() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(map_frame(Welcome, {"version": 1}))
    assert caught.value.code is ErrorCode.BAD_BODY


# --- what cannot be sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "limit"),
    [
        (Hello([1], agent="a" * 20_000), limits.HELLO_BYTES_MAX),
        (Open(1, "c" * 70_000), limits.CONTROL_FRAME_BYTES_MAX),
        (Publish(1, 1, 0, 0, 0, bytes(limits.FRAME_BYTES_MAX)), limits.FRAME_BYTES_MAX),
        (Reply(1, {"text": "x" * limits.FRAME_BYTES_MAX}), limits.FRAME_BYTES_MAX),
    ],
    ids=["HELLO", "OPEN", "PUBLISH", "REPLY"],
)
def test_a_frame_too_long_is_refused_where_it_is_made(frame: Frame, limit: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode(frame)
    assert caught.value.code is ErrorCode.FRAME_TOO_LARGE and caught.value.detail == {"limit": limit}


def test_the_longest_batch_fits_every_frame_that_carries_it() -> None:
    longest = batch.assemble(b"c", b"", 1, bytes(limits.BATCH_BYTES_MAX - batch.HEAD_BYTES - 1))
    for frame in (Publish(1, 1, 0, 0, 0, longest), Deliver(1, longest), Page(1, 1, 1, 1, 1, longest)):
        assert len(encode(frame)) <= limits.FRAME_BYTES_MAX
