"""What an engine finds after the one before it has ended, in whatever way."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, strategies as st
from outlast_broker.settling import SLICE_CHANNELS
from outlast_protocol import ErrorCode
from outlast_protocol.frames import (
    Configure,
    Delete,
    List,
    Open,
    Opened,
    Published,
    Truncate,
)

from tests.broker.stage import Actor, Stage
from tests.support.bounds import bounded

Staged = Callable[..., Stage]


def test_everything_acknowledged_is_there_after_a_restart(restarting: Callable[[Stage | None], Stage]) -> None:
    first = restarting(None)
    alice = first.client("alice", producer=(7, 0))
    room, other = alice.open("room"), alice.open("other")
    alice.publish_many(room.number, 5, "x", "y")
    alice.publish_many(other.number, 1)
    alice.result(Truncate(90, "room", 4))
    alice.result(Configure(91, "other", {"records": 50}))
    first.settle("other")
    alice.publish_many(other.number, 1)
    second = restarting(first)
    bob = second.client("bob")
    assert bob.open("room") == Opened(bob._request, room.number, room.epoch, 4, 10)
    assert bob.open("other") == Opened(bob._request, other.number, other.epoch, 1, 2)
    assert bob.info("other")["retention"]["records"] == 50
    bob.subscribe(room.number)
    assert [record.offset for record in bob.records(10) if record.offset >= 4] == list(range(4, 11))
    assert bob.publish(room.number, "x") == (11, False)


def test_a_publish_sent_again_after_a_restart_is_stored_once(restarting: Callable[[Stage | None], Stage]) -> None:
    stage = restarting(None)
    alice = stage.client("alice", producer=(7, 1))
    number = alice.open("room").number
    for sequence in range(1, 11):
        alice.publish(number, "x", "y", sequence=sequence)
        if sequence == 5:
            stage.settle("room")
    stage = restarting(stage)
    again = stage.client("alice", producer=(7, 1))
    again.open("room")
    for sequence in (10, 3):
        assert again.publish(number, "x", "y", sequence=sequence) == (2 * sequence - 1, True)
    assert again.publish(number, "x", "y", sequence=11) == (21, False)
    gap = again.publishing(number, "x", sequence=13)
    assert again.refused(gap, ErrorCode.SEQUENCE_GAP).detail == {"expected": 12}
    zombie = stage.client("zombie", producer=(7, 0))
    zombie.open("room")
    assert zombie.refused(zombie.publishing(number, "x", sequence=1), ErrorCode.FENCED).detail == {"epoch": 1}


def test_a_deleted_channels_records_in_the_journal_are_skipped(restarting: Callable[[Stage | None], Stage]) -> None:
    stage = restarting(None)
    alice = stage.client()
    alice.publish_many(alice.open("gone").number, 3)
    alice.publish_many(alice.open("room").number, 2)
    alice.result(Delete(90, "gone"))
    stage = restarting(stage)
    bob = stage.client()
    bob.refused(Open(1, "gone", create=False), ErrorCode.UNKNOWN_CHANNEL)
    assert bob.open("room").last == 2


def test_a_crash_between_two_slices_of_a_move_loses_nothing(restarting: Callable[[Stage | None], Stage]) -> None:
    """Some channels lie in chunks by then, others do not, and the journal still holds all of them."""
    stage = restarting(None)
    alice = stage.client()
    names = [f"room {index:03}" for index in range(3 * SLICE_CHANNELS)]
    alice.send(*[Open(1 + at, name) for at, name in enumerate(names)])
    numbers = [alice.expect(Opened).number for _ in names]
    alice.send(*[alice.publishing(number, "x") for number in numbers])
    assert len(alice.expect(Published).acks) == len(names)
    channels = [stage.channel(name) for name in names]
    stage.call(stage.engine.wake)
    stage.until(lambda: 0 < sum(not channel.tail for channel in channels) < len(names))
    stage = restarting(stage)
    bob = stage.client("bob")
    for name in names:
        assert bob.open(name).last == 1
    assert bob.publish(numbers[0], "y") == bob.publish(numbers[-1], "y") == (2, False)


STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "publish", "tick", "truncate", "delete", "restart"]), st.integers(0, 2)),
    min_size=5,
    max_size=40,
)


@bounded(25)
@given(STEPS)
def test_no_history_loses_an_acknowledged_record(steps: list[tuple[str, int]]) -> None:
    """Publish, move, trim, delete and crash in any order, against a dictionary of lists."""
    stage = Stage(journal_age_ms=0)
    model: dict[str, tuple[int, int]] = {}
    alice = stage.client()
    for step, index in steps:
        if step == "restart":
            stage = Stage(stage.crash(), journal_age_ms=0)
            alice = stage.client()
        else:
            _live(stage, alice, step, f"room {index}", model)
    stage = Stage(stage.crash(), journal_age_ms=0)
    _check(stage, model)
    stage.close()


def _live(stage: Stage, alice: Actor, step: str, name: str, model: dict[str, tuple[int, int]]) -> None:
    first, last = model.get(name, (1, 0))
    match step:
        case "publish":
            number = alice.open(name).number
            assert alice.publish(number, f"{last + 1}", f"{last + 2}") == (last + 1, False)
            model[name] = (first, last + 2)
        case "tick":
            stage.tick()
        case "truncate" if name in model:
            first = (first + last + 1) // 2
            assert alice.result(Truncate(alice.request(), name, first)) == {"first": first}
            model[name] = (first, last)
        case "delete" if name in model:
            alice.result(Delete(alice.request(), name))
            del model[name]


def _check(stage: Stage, model: dict[str, tuple[int, int]]) -> None:
    bob = stage.client()
    rows = bob.result(List(bob.request()))["channels"]
    assert {row["channel"]: (row["first"], row["last"]) for row in rows} == model
    for name, (first, last) in model.items():
        number = bob.open(name).number
        if first <= last:
            bob.subscribe(number)
            records = {record.offset: record.decoded() for record in bob.records(last) if record.offset >= first}
            assert records == {offset: f"{offset}" for offset in range(first, last + 1)}
