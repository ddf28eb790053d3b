from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from outlast_protocol import ErrorCode, Frame, ProtocolError, batch, limits
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
    Credit,
    Deliver,
    Hello,
    Open,
    Page,
    Ping,
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
