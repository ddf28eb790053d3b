"""SUBSCRIBE, UNSUBSCRIBE and CREDIT over a real socket (PROTOCOL.md 6.5, 6.6)."""

from __future__ import annotations

from typing import Any

import pytest
from outlast_protocol import ErrorCode, batch, limits
from outlast_protocol.frames import (
    Credit,
    Delete,
    Deliver,
    Error,
    Resync,
    Subscribe,
    Subscribed,
    Truncate,
    Unsubscribe,
    encode,
)

from tests.support.broker import Broker, RawClient


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
