from __future__ import annotations

from collections.abc import Callable

import pytest
from outlast_broker import revisiting
from outlast_broker.retention import Retention
from outlast_broker.revisiting import Revisiting
from outlast_broker.rules import Rules

from tests.broker.stage import Stage, Time

Staged = Callable[..., Stage]


def test_channels_that_nobody_touches_learn_of_new_rules(
    time: Time, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisiting, "CHANNELS_PER_TICK", 2)
    stage = staged()
    alice = stage.client()
    for name in "abcde":
        alice.publish_many(alice.open(name).number, 1)
    alice.leave()
    time.advance(60_000)
    stage.tick()
    stage.engine.rules = Rules(Retention(idle_ttl_ms=30_000), ())
    stage.tick()
    assert stage.engine.open("a", create=False) is not None, "nothing is due there that anybody knew of"
    again = Revisiting(stage.engine)
    again.begin()
    for _ in range(4):
        again.tick()
        time.advance(2_000)
        stage.tick()
    assert not again.under_way
    time.advance(60_000)
    stage.tick()
    assert [name for name in "abcde" if stage.engine.open(name, create=False)] == []


def test_without_a_reason_nothing_is_looked_at(staged: Staged) -> None:
    stage = staged()
    alice = stage.client()
    alice.publish_many(alice.open("a").number, 1)
    Revisiting(stage.engine).tick()
    assert not stage.engine.group.trims
