"""Every frame a client may send, and every refusal of PROTOCOL.md section 8, over a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import msgpack
import pytest
from outlast_broker.damage import Damaged
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode, batch, limits
from outlast_protocol.frames import (
    HEADER,
    SPECS,
    UNCONDITIONAL,
    Credit,
    Delete,
    Deliver,
    Error,
    Hello,
    List,
    Open,
    Opened,
    Ping,
    Pong,
    Publish,
    Published,
    Resync,
    Subscribe,
    Subscribed,
    Truncate,
    Unsubscribe,
    Welcome,
    encode,
)

from tests.broker.stage import Stage, Time
from tests.support.broker import Broker, RawClient, running_broker
from tests.support.samples import WELCOME

NUMBERS = {spec.cls: spec.number for spec in SPECS}


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One broker for all tests here; each has a channel of its own name."""
    with running_broker(channels_per_connection=3) as broker:
        yield broker


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def alice(broker: Broker) -> Iterator[RawClient]:
    alice = broker.client("alice", producer=(7, 2))
    yield alice
    alice.close()


@pytest.fixture
def number(alice: RawClient, room: str) -> int:
    return alice.open(room).number


def frame_of(number: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(8 + len(body), number, flags, 0) + body


def said(client: RawClient, kind: type[Any], body: Any, request: int = 5) -> Error:
    """What a request frame with this msgpack body is answered."""
    client.send_bytes(frame_of(NUMBERS[kind], request.to_bytes(4, "little") + msgpack.packb(body)))
    error: Error = client.answer_to(request)
    assert isinstance(error, Error)
    return error


# --- HELLO ------------------------------------------------------------------------------------------------


def test_the_welcome_says_what_both_may_rely_on(broker: Broker) -> None:
    welcome = broker.stranger("alice").hello(heartbeat_ms=20_000)
    assert (welcome.version, welcome.client_id, welcome.heartbeat_ms, welcome.features) == (1, "alice", 20_000, [])
    stated = {name.removesuffix("_MAX").lower(): value for name, value in vars(limits).items() if name.isupper()}
    expected = {name: value for name, value in stated.items() if name not in ("control_frame_bytes", "hello_bytes")}
    assert welcome.limits == expected | {"channels": 3}
    assert welcome.server.startswith("outlast/") and welcome.time_ms > 1_600_000_000_000


@pytest.mark.parametrize(("asked_ms", "agreed_ms"), [(1, 1_000), (5_000, 5_000), (10**9, 60_000)])
def test_the_heartbeat_is_kept_within_bounds(broker: Broker, asked_ms: int, agreed_ms: int) -> None:
    assert broker.stranger().hello(heartbeat_ms=asked_ms).heartbeat_ms == agreed_ms


def test_a_client_without_an_id_gets_one(broker: Broker) -> None:
    names = set()
    for _ in range(2):
        stranger = broker.stranger()
        stranger.send(Hello([1]))
        names.add(stranger.expect(Welcome).client_id)
    assert len(names) == 2 and all(names)


def test_the_version_that_both_speak_is_chosen(broker: Broker) -> None:
    stranger = broker.stranger()
    stranger.send(Hello([9, 1, 7], "alice", features=["future"]))
    welcome = stranger.expect(Welcome)
    assert (welcome.version, welcome.features) == (1, [])


HELLO = encode(Hello([1], "alice"))
ENDINGS: dict[str, tuple[bytes, ErrorCode]] = {
    "http": (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", ErrorCode.BAD_MAGIC),
    "tls": (bytes.fromhex("16030100c8010000c40303"), ErrorCode.BAD_MAGIC),
    "another magic word": (HELLO.replace(b"OUTL", b"LTUO"), ErrorCode.BAD_MAGIC),
    "no HELLO": (encode(Ping(1)), ErrorCode.UNEXPECTED_FRAME),
    "two HELLOs": (HELLO + HELLO, ErrorCode.UNEXPECTED_FRAME),
    "a frame of the broker": (encode(WELCOME), ErrorCode.UNEXPECTED_FRAME),
    "a long HELLO": (HEADER.pack(16_385, 1, 0, 0), ErrorCode.FRAME_TOO_LARGE),
    "flags": (HEADER.pack(20, 1, 1, 0), ErrorCode.BAD_FRAME),
    "no map": (frame_of(1, b"OUTL\x01"), ErrorCode.BAD_BODY),
    "no versions": (encode(Hello([], "alice")), ErrorCode.UNSUPPORTED_VERSION),
    "versions to come": (encode(Hello([2, 3], "alice")), ErrorCode.UNSUPPORTED_VERSION),
    "an empty client_id": (encode(Hello([1], "")), ErrorCode.BAD_BODY),
    "a long client_id": (encode(Hello([1], "x" * 129)), ErrorCode.BAD_BODY),
    "a control character": (encode(Hello([1], "a\nb")), ErrorCode.BAD_BODY),
    "half a producer": (encode(Hello([1], "alice", [7])), ErrorCode.BAD_BODY),
}


@pytest.mark.parametrize("data, code", ENDINGS.values(), ids=ENDINGS)
def test_a_wrong_beginning_is_answered_and_ends_the_connection(broker: Broker, data: bytes, code: ErrorCode) -> None:
    stranger = broker.stranger()
    stranger.send_bytes(data)
    error = stranger.expect(Error)
    assert (error.request, ErrorCode(error.code)) == (0, code)
    stranger.sees_close()


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


@pytest.mark.parametrize("name", ["a", "x" * 255, "語" * 85, "a b", "\x80", "🦊", "../..", '"'])
def test_names_that_a_channel_may_have(broker: Broker, alice: RawClient, name: str) -> None:
    number = alice.open(name).number
    assert alice.info(name)["channel"] == name and alice.publish(number, "x") == (1, False)
    alice.result(Delete(alice.request(), name))


@pytest.mark.parametrize("name", ["", "x" * 256, "語" * 86, "a\nb", "\0", "\x1f", "a\x7f"])
def test_names_that_no_channel_may_have(alice: RawClient, name: str) -> None:
    alice.refused(Open(1, name), ErrorCode.BAD_CHANNEL_NAME)
    alice.refused(Delete(2, name), ErrorCode.BAD_CHANNEL_NAME)


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


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_crc(data: bytes) -> bytes:
    """The batch with the checksum that its bytes ask for."""
    return data[:4] + crc32(data[24:]).to_bytes(4, "little") + data[8:]


WHOLE = batch.encode_batch("alice", [("text", None, None)])
BAD_BATCHES: dict[str, tuple[bytes, ErrorCode]] = {
    "a length that lies": (damaged(WHOLE, 0), ErrorCode.BAD_BATCH),
    "a stamp": (damaged(WHOLE, 8), ErrorCode.BAD_BATCH),
    "a time": (damaged(WHOLE, 16), ErrorCode.BAD_BATCH),
    "a flipped bit": (damaged(WHOLE, len(WHOLE) - 1), ErrorCode.BAD_CHECKSUM),
    "another kind": (with_crc(damaged(WHOLE, 24)), ErrorCode.UNSUPPORTED_KIND),
    "another client": (batch.encode_batch("mallory", [("x", None, None)]), ErrorCode.CLIENT_MISMATCH),
    "no records": (with_crc(damaged(WHOLE, 28)), ErrorCode.BAD_BATCH),
}


@pytest.mark.parametrize("data, code", BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_is_refused_and_leaves_no_trace(alice: RawClient, room: str, data: bytes, code: ErrorCode) -> None:
    number = alice.open(room).number
    error = alice.refused(Publish(90, number, 1, UNCONDITIONAL, 0, data), code)
    assert error.detail == ({"kind": 1} if code is ErrorCode.UNSUPPORTED_KIND else {})
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


# --- SUBSCRIBE and DELIVER --------------------------------------------------------------------------------


@pytest.fixture
def ten(alice: RawClient, number: int) -> int:
    """The channel with records 1 to 10, in batches of two."""
    alice.send(*[alice.publishing(number, f"{2 * at + 1}", f"{2 * at + 2}") for at in range(5)])
    for request in range(alice.request() - 5, alice.request() - 1):
        alice.answer_to(request)
    return number


@pytest.mark.parametrize(
    ("start", "after", "delivered"),
    [
        ({"start": "earliest"}, 0, 1),
        ({"start": "latest"}, 10, 11),
        ({"after": 0}, 0, 1),
        ({"after": 3}, 3, 3),
        ({"after": 4}, 4, 5),
        ({"after": 10}, 10, 11),
        ({"last": 3}, 7, 7),
        ({"last": 500}, 0, 1),
        ({"last": 0}, 10, 11),
        ({"since_ms": 0}, 0, 1),
        ({"since_ms": 2**62}, 10, 11),
    ],
)
def test_where_a_subscription_starts(
    alice: RawClient, ten: int, start: dict[str, Any], after: int, delivered: int
) -> None:
    """Whole batches come, so there may be a record before the one that is meant."""
    subscribed = alice.subscribe(ten, **start)
    assert (subscribed.after, subscribed.first, subscribed.last, subscribed.resync) == (after, 1, 10, None)
    assert alice.publish(ten, "11") == (11, False)
    records = alice.records(11)
    assert [record.offset for record in records] == list(range(delivered, 12))
    assert [record.decoded() for record in records] == [str(record.offset) for record in records]


def test_a_subscription_of_another_life_is_told(alice: RawClient, ten: int) -> None:
    subscribed = alice.subscribe(ten, after=99, epoch=1)
    assert (subscribed.resync, subscribed.after) == ("recreated", 0)
    assert alice.records(10)[0].offset == 1


def test_a_subscription_of_what_is_trimmed_is_told(alice: RawClient, room: str, ten: int) -> None:
    alice.result(Truncate(90, room, 6))
    subscribed = alice.subscribe(ten, after=2)
    assert (subscribed.resync, subscribed.after, subscribed.first) == ("trimmed", 5, 6)
    assert [record.offset for record in alice.records(10) if record.offset > 5] == [6, 7, 8, 9, 10]


def test_nobody_has_read_beyond_the_end(alice: RawClient, ten: int) -> None:
    assert alice.refused(Subscribe(90, ten, 1, after=11), ErrorCode.OFFSET_AHEAD).detail == {"last": 10}
    assert alice.subscribe(ten, after=10).after == 10, "a refused SUBSCRIBE subscribes nobody"


@pytest.mark.parametrize(
    "start",
    [{}, {"after": 1, "last": 2}, {"start": "middle"}, {"last": 1, "epoch": 3}, {"start": "latest", "since_ms": 1}],
)
def test_a_subscription_has_one_start(alice: RawClient, number: int, start: dict[str, Any]) -> None:
    alice.refused(Subscribe(90, number, 1, **start), ErrorCode.BAD_BODY)


def test_one_subscription_per_channel_and_connection(broker: Broker, alice: RawClient, ten: int, room: str) -> None:
    alice.subscribe(ten, start="latest")
    alice.refused(Subscribe(90, ten, 1, start="latest"), ErrorCode.ALREADY_SUBSCRIBED)
    bob = broker.client("bob")
    bob.open(room)
    bob.subscribe(ten)
    alice.result(Unsubscribe(91, ten))
    alice.refused(Unsubscribe(92, ten), ErrorCode.NOT_SUBSCRIBED)
    assert alice.subscribe(ten, after=8).after == 8
    assert len(bob.records(10)) == 10


def test_after_unsubscribing_nothing_comes(alice: RawClient, number: int) -> None:
    alice.subscribe(number, start="latest")
    alice.result(Unsubscribe(90, number))
    alice.publish(number, "x")
    alice.hears_nothing()


@pytest.mark.parametrize("start", [{"start": "earliest"}, {"since_ms": 0}])
def test_every_request_is_answered_however_they_follow_each_other(
    alice: RawClient, ten: int, start: dict[str, Any]
) -> None:
    """SUBSCRIBE, UNSUBSCRIBE and SUBSCRIBE again, before the first one can have been answered."""
    publishing = alice.publishing(ten, "11")
    alice.send(publishing, Subscribe(90, ten, 1, **start), Unsubscribe(91, ten), Subscribe(92, ten, 1 << 20, after=10))
    answers = [alice.answer_to(request) for request in (publishing.request, 90, 91, 92)]
    assert isinstance(answers[1], Subscribed | Error)
    assert isinstance(answers[3], Subscribed) and answers[3].after == 10
    delivered = [record.offset for record in alice.records(11)]
    assert delivered[-1] == 11
    alice.hears_nothing()


def test_a_deleted_channel_ends_its_subscriptions(broker: Broker, alice: RawClient, room: str, ten: int) -> None:
    bob = broker.client("bob")
    opened = bob.open(room)
    bob.subscribe(ten, start="latest")
    alice.result(Delete(90, room))
    assert bob.expect(Resync) == Resync(ten, "deleted", 10, opened.epoch)
    for frame in (bob.publishing(ten, "x"), Subscribe(91, ten, 1, after=0)):
        bob.refused(frame, ErrorCode.UNKNOWN_CHANNEL)
    bob.refused(Unsubscribe(92, ten), ErrorCode.NOT_SUBSCRIBED)
    again = bob.open(room)
    assert again.number != ten and again.epoch != opened.epoch and again.last == 0


def test_credit_pays_for_whole_frames(alice: RawClient, number: int) -> None:
    alice.subscribe(number, 1)
    alice.publish(number, "one")
    alice.publish(number, "two")
    first = alice.records(1)
    assert [record.decoded() for record in first] == ["one"]
    alice.hears_nothing()
    length = len(encode(Deliver(number, batch.stamp(alice.batch("one"), 1, 1))))
    alice.send(Credit(number, length - 1))
    alice.hears_nothing()
    alice.send(Credit(number, 1))
    assert [record.decoded() for record in alice.records(2)] == ["two"]


def test_credit_for_what_is_not_subscribed_is_ignored(alice: RawClient, number: int) -> None:
    alice.send(Credit(number, 5), Credit(2**63, 5))
    alice.hears_nothing()


def test_credit_beyond_its_bound_is_refused_and_adds_nothing(alice: RawClient, number: int) -> None:
    alice.subscribe(number, 100, start="latest")
    alice.send(Credit(number, limits.CREDIT_BYTES_MAX - 99))
    error = alice.expect(Error)
    assert (error.request, ErrorCode(error.code)) == (0, ErrorCode.CREDIT_OVERFLOW)
    alice.send(Credit(number, limits.CREDIT_BYTES_MAX - 100))
    alice.hears_nothing()
    alice.result(Unsubscribe(90, number))
    alice.refused(Subscribe(91, number, limits.CREDIT_BYTES_MAX + 1, start="latest"), ErrorCode.CREDIT_OVERFLOW)
    assert isinstance(alice.subscribe(number, start="latest"), Subscribed)


def test_one_connection_reads_several_channels(alice: RawClient, room: str) -> None:
    numbers = [alice.open(f"{room} {index}").number for index in range(3)]
    for each in numbers:
        alice.publish(each, f"in {each}")
        alice.subscribe(each)
    delivered = {frame.number for frame in (alice.expect(Deliver) for _ in numbers)}
    assert delivered == set(numbers)


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


class Torn(MemoryLog):
    """A log in which no time can be looked for any more."""

    def find_time(self, number: int, time_ms: int) -> Any:
        raise Damaged(f"a chunk of channel number {number} fails its checksum")


def test_a_subscription_that_meets_damage_is_refused_and_may_be_tried_again(staged: Callable[..., Stage]) -> None:
    stage = staged(Torn(), journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.publish(number, "x")
    stage.settle("room")
    error = alice.refused(alice.subscribing(number, since_ms=0), ErrorCode.DAMAGED)
    assert error.detail == {"number": number}
    assert alice.subscribe(number, start="earliest").after == 0
    assert len(alice.records(1)) == 1


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
