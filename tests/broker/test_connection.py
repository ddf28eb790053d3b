"""Framing, OPEN, PUBLISH, time and what goes wrong inside; what else a client may ask has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgpack
import pytest
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode, batch, limits
from outlast_protocol.frames import (
    HEADER,
    SPECS,
    UNCONDITIONAL,
    Error,
    Hello,
    List,
    Open,
    Opened,
    Ping,
    Pong,
    Publish,
    Published,
    Subscribe,
    Unsubscribe,
    encode,
)
from outlast_protocol.operations import Op, Operation

from tests.broker.stage import Stage, Time
from tests.support.broker import Broker, RawClient

NUMBERS = {spec.cls: spec.number for spec in SPECS}


def frame_of(number: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(8 + len(body), number, flags, 0) + body


def said(client: RawClient, kind: type[Any], body: Any, request: int = 5) -> Error:
    """What a request frame with this msgpack body is answered."""
    client.send_bytes(frame_of(NUMBERS[kind], request.to_bytes(4, "little") + msgpack.packb(body)))
    error: Error = client.answer_to(request)
    assert isinstance(error, Error)
    return error


# --- framing ----------------------------------------------------------------------------------------------


HELLO = encode(Hello([1], "alice"))
BREAKS: dict[str, tuple[bytes, ErrorCode, dict[str, int]]] = {
    "HELLO again": (HELLO, ErrorCode.UNEXPECTED_FRAME, {}),
    "a frame of the broker": (encode(Published([(1, 1, False)])), ErrorCode.UNEXPECTED_FRAME, {}),
    "an unknown frame": (HEADER.pack(8, 0x7F, 0, 0), ErrorCode.UNKNOWN_FRAME, {"type": 0x7F}),
    "flags": (HEADER.pack(16, NUMBERS[Ping], 1, 0), ErrorCode.BAD_FRAME, {}),
    "reserved bytes": (HEADER.pack(16, NUMBERS[Ping], 0, 1), ErrorCode.BAD_FRAME, {}),
    "too short": (HEADER.pack(9, NUMBERS[Ping], 0, 0), ErrorCode.BAD_FRAME, {}),
    "too long": (HEADER.pack(17, NUMBERS[Ping], 0, 0), ErrorCode.FRAME_TOO_LARGE, {"limit": 16}),
    "far too long": (HEADER.pack(2**32 - 1, NUMBERS[Publish], 0, 0), ErrorCode.FRAME_TOO_LARGE, {"limit": 1_048_576}),
    "a long map": (HEADER.pack(65_537, NUMBERS[Open], 0, 0), ErrorCode.FRAME_TOO_LARGE, {"limit": 65_536}),
}


@pytest.mark.parametrize("data, code, detail", BREAKS.values(), ids=BREAKS)
def test_what_breaks_the_framing_is_answered_and_ends_the_connection(
    alice: RawClient, data: bytes, code: ErrorCode, detail: dict[str, int]
) -> None:
    """Though what came whole before it is still answered."""
    alice.send_bytes(encode(Ping(3)) + data)
    alice.expect(Pong)
    error = alice.expect(Error)
    assert (ErrorCode(error.code), error.detail) == (code, detail)
    alice.sees_close()


# --- bodies -----------------------------------------------------------------------------------------------

BAD_BODIES: dict[str, tuple[type[Any], Any]] = {
    "OPEN without a channel": (Open, {}),
    "OPEN with a number": (Open, {"channel": 7}),
    "OPEN with a list": (Open, ["channel"]),
    "SUBSCRIBE without credit": (Subscribe, {"number": 1, "after": 0}),
    "SUBSCRIBE with a negative number": (Subscribe, {"number": -1, "credit": 1, "after": 0}),
    "UNSUBSCRIBE of text": (Unsubscribe, {"number": "1"}),
    "keys that are no text": (Open, {1: 2}),
}


@pytest.mark.parametrize("kind, body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_says_nothing_valid_is_refused_alone(alice: RawClient, kind: type[Any], body: Any) -> None:
    assert ErrorCode(said(alice, kind, body).code) is ErrorCode.BAD_BODY
    alice.hears_nothing()


def test_keys_of_versions_to_come_are_ignored(alice: RawClient, room: str) -> None:
    body = {"channel": room, "create": True, "colour": "green", "more": [1, {"a": None}]}
    alice.send_bytes(frame_of(NUMBERS[Open], (5).to_bytes(4, "little") + msgpack.packb(body)))
    assert isinstance(alice.answer_to(5), Opened)


def test_a_ping_is_answered_with_its_token(alice: RawClient) -> None:
    alice.send(Ping(2**64 - 1), Pong(4), Ping(0))
    assert [alice.expect(Pong), alice.expect(Pong)] == [Pong(2**64 - 1), Pong(0)]


# --- OPEN -------------------------------------------------------------------------------------------------


def test_open_creates_a_channel_once(broker: Broker, alice: RawClient, room: str) -> None:
    opened = alice.open(room)
    assert (opened.first, opened.last) == (1, 0)
    bob = broker.client("bob")
    assert alice.open(room)[1:] == bob.open(room)[1:] == opened[1:]


def test_open_without_create_does_not_create(alice: RawClient, room: str) -> None:
    alice.refused(Open(1, room, create=False), ErrorCode.UNKNOWN_CHANNEL)
    alice.refused(Open(2, room, create=False), ErrorCode.UNKNOWN_CHANNEL)


def test_one_connection_opens_so_many_channels(alice: RawClient, room: str) -> None:
    numbers = [alice.open(f"{room} {index}").number for index in range(3)]
    error = alice.refused(Open(90, f"{room} more"), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "channels", "value": 3}
    alice.refused(Open(91, f"{room} more", create=False), ErrorCode.LIMIT_EXCEEDED)
    assert alice.open(f"{room} 1").number == numbers[1], "what is open already may be opened again"
    with pytest.raises(AssertionError):
        alice.info(f"{room} more")


# --- PUBLISH ----------------------------------------------------------------------------------------------


def test_a_publish_is_acknowledged_with_its_first_offset(alice: RawClient, number: int) -> None:
    assert alice.publish(number, "a", b"b", {"c": 1}) == (1, False)
    assert alice.publish(number, "d") == (4, False)


def damaged(data: bytes, at: int, bits: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def with_crc(data: bytes) -> bytes:
    """The batch with the checksum that its bytes ask for."""
    return data[:4] + crc32(data[24:]).to_bytes(4, "little") + data[8:]


WHOLE = batch.encode_batch("alice", [("text", None, None)])
FOLDED = batch.encode_labelled("alice", [((1, None, (), Operation(Op.FOLDED, 1), 0), b"text")])
BAD_BATCHES: dict[str, tuple[bytes, ErrorCode]] = {
    "a length that lies": (damaged(WHOLE, 0), ErrorCode.BAD_BATCH),
    "a stamp": (damaged(WHOLE, 8), ErrorCode.BAD_BATCH),
    "a time": (damaged(WHOLE, 16), ErrorCode.BAD_BATCH),
    "a flipped bit": (damaged(WHOLE, len(WHOLE) - 1), ErrorCode.BAD_CHECKSUM),
    "another kind": (with_crc(damaged(WHOLE, 24, 2)), ErrorCode.UNSUPPORTED_KIND),
    "another client": (batch.encode_batch("mallory", [("x", None, None)]), ErrorCode.CLIENT_MISMATCH),
    "what the broker alone says": (FOLDED, ErrorCode.BAD_BATCH),
    "an operation in a batch of kind 0": (with_crc(damaged(FOLDED, 24)), ErrorCode.BAD_BATCH),
    "no records": (with_crc(damaged(WHOLE, 28)), ErrorCode.BAD_BATCH),
}


@pytest.mark.parametrize("data, code", BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_is_refused_and_leaves_no_trace(alice: RawClient, room: str, data: bytes, code: ErrorCode) -> None:
    number = alice.open(room).number
    error = alice.refused(Publish(90, number, 1, UNCONDITIONAL, 0, data), code)
    assert error.detail == ({"kind": 2} if code is ErrorCode.UNSUPPORTED_KIND else {})
    assert alice.publish(number, "x", sequence=1) == (1, False), "its sequence is free, and so is its offset"


def test_a_number_must_be_opened_by_this_connection(broker: Broker, alice: RawClient, number: int) -> None:
    bob = broker.client("bob")
    bob.refused(bob.publishing(number, "x"), ErrorCode.UNKNOWN_CHANNEL)
    bob.refused(Subscribe(90, number, 1, after=0), ErrorCode.UNKNOWN_CHANNEL)


def test_a_condition_holds_or_is_refused_with_the_last_offset(alice: RawClient, number: int) -> None:
    assert alice.publish(number, "a", "b", if_offset=0) == (1, False)
    error = alice.refused(alice.publishing(number, "c", if_offset=0), ErrorCode.OFFSET_MISMATCH)
    assert error.detail == {"last": 2}
    assert alice.publish(number, "c", if_offset=2) == (3, False)


def test_conditions_in_one_write_are_judged_one_after_the_other(alice: RawClient, number: int) -> None:
    first, second, third = (alice.publishing(number, "x", if_offset=offset) for offset in (0, 1, 1))
    alice.send(first, second, third)
    assert [alice.answer_to(each.request)[1] for each in (first, second)] == [1, 2]
    assert alice.answer_to(third.request).detail == {"last": 2}


def test_sequences_make_resending_safe(alice: RawClient, number: int) -> None:
    assert alice.publish(number, "a", "b", sequence=5) == (1, False)
    assert alice.publish(number, "c", sequence=6) == (3, False)
    assert alice.publish(number, "a", "b", sequence=5) == (1, True)
    assert alice.publish(number, "x", sequence=5, if_offset=99) == (1, True), "whatever its condition"
    assert alice.publish(number, "x", sequence=4) == (0, True)
    error = alice.refused(alice.publishing(number, "x", sequence=8), ErrorCode.SEQUENCE_GAP)
    assert error.detail == {"expected": 7}
    assert alice.publish(number, "d", sequence=7) == (4, False)


def test_an_older_producer_epoch_is_fenced(broker: Broker, alice: RawClient, room: str, number: int) -> None:
    alice.publish(number, "x", sequence=1)
    zombie = broker.client("zombie", producer=(7, 1))
    zombie.open(room)
    error = zombie.refused(zombie.publishing(number, "x", sequence=2), ErrorCode.FENCED)
    assert error.detail == {"epoch": 2}
    heir = broker.client("heir", producer=(7, 3))
    heir.open(room)
    assert heir.publish(number, "x", sequence=100) == (2, False)
    alice.refused(alice.publishing(number, "x", sequence=2), ErrorCode.FENCED)


def test_a_sequence_needs_a_producer(broker: Broker, room: str) -> None:
    bob = broker.client("bob")
    number = bob.open(room).number
    bob.refused(bob.publishing(number, "x", sequence=1), ErrorCode.BAD_BODY)
    assert bob.publish(number, "x") == (1, False)


def test_any_producer_will_do(broker: Broker, room: str) -> None:
    bob = broker.client("bob", producer=(0, 0))
    assert bob.publish(bob.open(room).number, "x", sequence=1) == (1, False)


def test_the_largest_batch_is_taken_and_delivered(broker: Broker, alice: RawClient, number: int) -> None:
    room_for_data = limits.BATCH_BYTES_MAX - len(batch.encode_batch("alice", [(b"", None, None)]))
    alice.publish(number, b"x" * room_for_data)
    alice.subscribe(number)
    assert len(alice.records(1)[0].data) == room_for_data


# --- time, on a stage where it stands still ---------------------------------------------------------------


def test_one_who_never_says_hello_is_sent_away(time: Time, stage: Stage) -> None:
    """However slowly it seems to be saying it."""
    stranger = stage.stranger()
    for byte in HELLO[:4]:
        time.advance(1_200)
        stranger.send_bytes(bytes([byte]))
    stage.call(lambda: stranger.connection.tick(time.now_ms()))
    assert not stranger.wire.closed
    time.advance(201)
    stage.call(lambda: stranger.connection.tick(time.now_ms()))
    assert ErrorCode(stranger.expect(Error).code) is ErrorCode.HELLO_TIMEOUT and stranger.wire.closed


def test_a_silent_connection_is_pinged_and_then_given_up(time: Time, stage: Stage) -> None:
    alice = stage.client()
    time.advance(14_999)
    stage.call(lambda: alice.connection.tick(time.now_ms()))
    stage.call(stage.engine.outbox.flush)
    assert alice.silent
    time.advance(1)
    stage.call(lambda: alice.connection.tick(time.now_ms()))
    stage.call(stage.engine.outbox.flush)
    alice.expect(Ping)
    time.advance(22_499)
    stage.call(lambda: alice.connection.tick(time.now_ms()))
    assert not alice.wire.closed
    time.advance(1)
    stage.call(lambda: alice.connection.tick(time.now_ms()))
    codes = [ErrorCode(frame.code) for frame in alice.came if isinstance(frame, Error)]
    assert codes == [ErrorCode.HEARTBEAT_TIMEOUT] and alice.wire.closed


def test_one_who_is_heard_of_is_not_given_up(time: Time, stage: Stage) -> None:
    alice = stage.client()
    for _ in range(10):
        time.advance(30_000)
        alice.send(Pong(1))
        stage.call(lambda: alice.connection.tick(time.now_ms()))
    assert not alice.wire.closed


# --- what goes wrong inside -------------------------------------------------------------------------------


class Broken(MemoryLog):
    def names(self, prefix: str, after: str | None, count: int) -> Any:
        raise RuntimeError("nobody foresaw this")


def test_what_nobody_foresaw_ends_one_connection_only(staged: Callable[..., Stage]) -> None:
    stage = staged(Broken())
    alice, bob = stage.client("alice"), stage.client("bob")
    number = bob.open("room").number
    alice.send(List(1))
    bob.send(bob.publishing(number, "x"))
    assert ErrorCode(alice.expect(Error).code) is ErrorCode.INTERNAL and alice.wire.closed
    assert bob.expect(Published).acks[0][1] == 1


def test_a_closed_connection_leaves_nothing_behind(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("room").number
    alice.subscribe(number)
    channel = stage.channel("room")
    assert channel.users == 1 and len(channel.readers) == 1
    alice.leave()
    assert channel.users == 0 and not channel.readers and not channel.live


def test_what_was_accepted_stays_accepted_when_its_publisher_is_gone(stage: Stage) -> None:
    alice = stage.client("alice")
    number = alice.open("room").number
    stage.log.hold()
    alice.send(alice.publishing(number, "x"))
    stage.hold_in_commit()
    alice.leave()
    stage.log.go_on()
    stage.idle()
    assert stage.client("bob").open("room").last == 1
