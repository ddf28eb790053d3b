from __future__ import annotations

import pytest
from outlast_broker.metering.measures import Measures

from tests.broker.stage import Actor, Stage


@pytest.fixture
def alice(stage: Stage) -> Actor:
    return stage.client("alice")


def observed(measures: Measures) -> dict[str, int]:
    return {name: sum(getattr(measures, name).counts) for name in measures.__slots__}


def test_publishes_and_deliveries_are_each_counted_and_a_commit_is_once(stage: Stage, alice: Actor) -> None:
    bob = stage.client("bob")
    number = alice.open("room").number
    bob.open("room")
    bob.subscribe(number)
    stage.client("carol").open("room")
    before = observed(stage.engine.measures)
    commits = stage.engine.counters.commits
    alice.publish_many(number, 3, "a", "b")
    after = observed(stage.engine.measures)
    grown = {name: after[name] - before[name] for name in after}
    assert grown.pop("commit_us") == grown.pop("sync_us") == stage.engine.counters.commits - commits
    assert grown == {"publish_us": 3, "delivery_us": 1, "commit_records": 1, "loop_lag_us": 0}
    assert stage.engine.measures.commit_records.total == 6


def test_a_commit_of_other_things_has_no_records(stage: Stage, alice: Actor) -> None:
    alice.open("room")
    assert observed(stage.engine.measures)["commit_us"] and not observed(stage.engine.measures)["commit_records"]


def test_a_publish_that_waits_for_the_disk_took_long(stage: Stage, alice: Actor) -> None:
    number = alice.open("room").number
    stage.log.hold()
    alice.send(alice.publishing(number, "x"))
    heard_us = alice.connection.heard_us
    stage.log.go_on()
    stage.idle()
    assert stage.engine.measures.publish_us.total <= alice.connection.heard_us + 10_000_000 - heard_us
    assert stage.engine.measures.publish_us.total >= stage.engine.measures.sync_us.total
