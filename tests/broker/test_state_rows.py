"""State in the store: rows beside the log, the journal's operations after them, and what a restart makes of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from outlast_protocol import Encoding
from outlast_protocol.batch import encode_labelled
from outlast_protocol.frames import UNCONDITIONAL, Publish, Published, Truncate
from outlast_protocol.operations import Op, Operation
from outlast_protocol.session_frames import State

from .stage import Actor, Stage, Time

Staged = Callable[..., Stage]
AGE_MS = 1_000


@pytest.fixture
def stage(staged: Staged, time: Time) -> Stage:
    return staged(journal_age_ms=AGE_MS)


def publishing(actor: Actor, number: int, operation: Operation, data: bytes = b"") -> Publish:
    batch = encode_labelled(actor.id, [((int(Encoding.TEXT), None, (), operation, 0), data)])
    return Publish(actor.request(), number, 0, UNCONDITIONAL, 0, batch)


def change(actor: Actor, number: int, operation: Operation, data: bytes = b"") -> None:
    actor.send(publishing(actor, number, operation, data))
    actor.expect(Published)


def held(actor: Actor) -> dict[str, bytes]:
    return {row[0]: row[5] for row in actor.result(State(actor.request(), "room"))["state"]}


def move(stage: Stage, actor: Actor, time: Time) -> None:
    """The journal is of age: with what is written next, "room" leaves it, and with what comes then it is forgotten."""
    for _ in range(2):
        time.advance(AGE_MS)
        actor.publish(actor.open("other").number, "x")
        stage.idle()


def test_the_state_is_in_rows_and_journal(stage: Stage, staged: Staged, time: Time) -> None:
    alice = stage.client("alice")
    number = alice.open("room").number
    change(alice, number, Operation(Op.SET, key="a"), b"in the rows")
    change(alice, number, Operation(Op.SET, key="b"), b"to be unset")
    move(stage, alice, time)
    change(alice, number, Operation(Op.UNSET, key="b"))
    change(alice, number, Operation(Op.SET, key="c"), b"in the journal")
    expected = {"a": b"in the rows", "c": b"in the journal"}
    assert held(alice) == expected
    for _ in range(2):
        stage = staged(stage.crash(), journal_age_ms=AGE_MS)
        assert held(stage.client("bob")) == expected


@pytest.mark.parametrize("operation", [Operation(Op.UNSET, key="a"), Operation(Op.SET, key="a")])
def test_a_change_whose_record_was_trimmed_before_it_was_moved_is_kept(
    stage: Stage, staged: Staged, time: Time, operation: Operation
) -> None:
    alice = stage.client("alice")
    number = alice.open("room").number
    change(alice, number, Operation(Op.SET, key="a"), b"old")
    move(stage, alice, time)
    change(alice, number, operation)
    alice.result(Truncate(alice.request(), "room", 3))
    move(stage, alice, time)
    assert not stage.channel("room").tail
    expected = {"a": b""} if operation.op is Op.SET else {}
    assert held(alice) == expected
    assert held(staged(stage.crash(), journal_age_ms=AGE_MS).client("bob")) == expected


def test_a_channel_stays_in_memory_until_its_state_is_in_the_rows(stage: Stage, time: Time) -> None:
    alice = stage.client("alice")
    number = alice.open("room").number
    change(alice, number, Operation(Op.SET, key="a"), b"old")
    move(stage, alice, time)
    change(alice, number, Operation(Op.SET, key="a"), b"new")
    alice.result(Truncate(alice.request(), "room", 3))
    alice.leave()
    bob = stage.client("bob")
    for _ in range(3):
        stage.tick()
        assert held(bob) == {"a": b"new"}
    move(stage, bob, time)
    memory = stage.engine.hub
    for _ in range(3):
        stage.tick()
    assert len(memory) == 1, "only the channel that bob has open"
    assert held(bob) == {"a": b"new"}


def test_state_is_told_when_it_is_on_disk(stage: Stage) -> None:
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    change(alice, number, Operation(Op.SET, key="a"), b"on disk")
    stage.log.hold()
    alice.send(publishing(alice, number, Operation(Op.SET, key="a"), b"not yet"))
    stage.hold_in_commit()
    bob.send(State(bob.request(), "room"))
    stage.turn()
    assert bob.silent and alice.silent
    stage.log.go_on()
    alice.expect(Published)
    stage.idle()
    [frame] = bob.came
    assert [row[5] for row in frame.result["state"]] == [b"not yet"]  # type: ignore[union-attr]


def test_conditions_are_judged_by_what_is_accepted(stage: Stage) -> None:
    alice = stage.client("alice")
    number = alice.open("room").number
    stage.log.hold()
    first, second = (publishing(alice, number, Operation(Op.SET, key="a", version=0), data) for data in (b"1", b"2"))
    alice.send(first)
    stage.hold_in_commit()
    alice.send(second)
    stage.turn()
    assert alice.silent, "a refusal tells of the version, which is not on disk yet"
    stage.log.go_on()
    stage.idle()
    published, refused = alice.came
    assert isinstance(published, Published)
    assert refused.detail == {"key": "a", "version": 1}  # type: ignore[union-attr]
