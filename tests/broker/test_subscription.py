"""PROTOCOL.md 6.5 and 6.6."""

from __future__ import annotations

import pytest
from outlast_broker.subscription import Subscription
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CREDIT_BYTES_MAX

from tests.broker.stage import Actor, Stage


@pytest.fixture
def alice(stage: Stage) -> Actor:
    alice = stage.client("alice")
    alice.open("room")
    return alice


def subscription(stage: Stage, alice: Actor, after: int = 0, credit: int = 100) -> Subscription:
    made = Subscription(alice.connection, stage.channel("room"), after, credit)
    made.channel.readers.add(made)
    return made


def test_it_stands_behind_the_last_record_it_has(stage: Stage, alice: Actor) -> None:
    assert subscription(stage, alice, after=7).next == 8


def test_credit_adds_up_to_its_bound(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice, credit=0)
    reader.grant(CREDIT_BYTES_MAX - 5)
    reader.grant(5)
    assert reader.credit == CREDIT_BYTES_MAX


def test_credit_beyond_the_bound_adds_nothing(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice, credit=100)
    with pytest.raises(ProtocolError) as caught:
        reader.grant(CREDIT_BYTES_MAX - 99)
    assert caught.value.code is ErrorCode.CREDIT_OVERFLOW and reader.credit == 100


def test_overdrawn_credit_must_be_paid_back_first(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice, credit=-50)
    reader.grant(50)
    reader.go_on()
    assert reader not in alice.connection.behind
    reader.grant(1)
    reader.go_on()
    assert reader in alice.connection.behind


def test_a_live_reader_is_not_behind(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice)
    reader.go_on()
    reader.go_live()
    assert reader.live and reader not in alice.connection.behind


def test_a_reader_that_lapses_goes_on_from_where_it_was(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice)
    reader.go_live()
    reader.fall_behind(5)
    assert not reader.live and reader.next == 5 and reader in alice.connection.behind


def test_without_credit_it_waits_for_some(stage: Stage, alice: Actor) -> None:
    reader = subscription(stage, alice, credit=0)
    reader.go_live()
    reader.fall_behind(5)
    assert not reader.live and reader not in alice.connection.behind


@pytest.mark.parametrize("live", [True, False])
def test_after_its_end_nobody_remembers_it(stage: Stage, alice: Actor, live: bool) -> None:
    reader = subscription(stage, alice)
    if live:
        reader.go_live()
    else:
        reader.go_on()
    reader.end()
    channel = reader.channel
    assert reader not in channel.readers and reader not in channel.live and reader not in alice.connection.behind
