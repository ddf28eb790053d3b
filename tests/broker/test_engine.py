from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outlast_broker.lmdb_log import LmdbLog
from outlast_protocol import ErrorCode, limits
from outlast_protocol.batch import read_records
from outlast_protocol.frames import (
    Configure,
    Delete,
    Deliver,
    Error,
    History,
    Info,
    List,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Published,
    Reply,
    Resync,
    Subscribed,
    Truncate,
)

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
DAY_MS = 86_400_000


def reopened(staged: Staged, stage: Stage, **settings: Any) -> Stage:
    """Another engine on the same log, as after a crash: the first one is not asked to finish anything."""
    return staged(stage.crash(), **settings)


# --- an acknowledgement means on disk ---------------------------------------------------------------------


class Held:
    """Alice reads the channel "room", which holds one record; a second one is being committed, and the disk waits."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.alice = stage.client("alice", producer=(7, 0))
        self.number = self.alice.open("room").number
        self.alice.publish(self.number, "one", sequence=1)
        self.alice.subscribe(self.number)
        self.alice.records(1)
        stage.log.hold()
        self.second = self.alice.publishing(self.number, "two", sequence=2)
        self.alice.send(self.second)
        stage.hold_in_commit()

    def go_on(self) -> None:
        self.stage.log.go_on()
        self.stage.idle()


@pytest.fixture
def held(stage: Stage) -> Held:
    return Held(stage)


def test_nothing_is_acknowledged_or_delivered_before_the_commit(held: Held) -> None:
    assert held.alice.silent
    held.go_on()
    assert Published([(held.second.request, 2, False)]) in held.alice.came
    [delivered] = [frame for frame in held.alice.came if isinstance(frame, Deliver)]
    assert [record.offset for record in read_records(delivered.batches)] == [2]


REQUESTS: list[Callable[[Actor, int], Any]] = [
    lambda bob, number: Open(1, "room"),
    lambda bob, number: Info(1, "room"),
    lambda bob, number: List(1),
    lambda bob, number: History(1, number, start="earliest"),
    lambda bob, number: History(1, number, backwards=True),
    lambda bob, number: History(1, number, since_ms=0),
    lambda bob, number: History(1, number, after=2),
    lambda bob, number: bob.subscribing(number, start="latest"),
    lambda bob, number: bob.subscribing(number, start="earliest"),
    lambda bob, number: bob.subscribing(number, since_ms=0),
    lambda bob, number: bob.subscribing(number, after=9),
    lambda bob, number: bob.publishing(number, "x", if_offset=1),
    lambda bob, number: bob.publishing(number, "x", if_offset=9),
    lambda bob, number: Truncate(1, "room", 9),
]


@pytest.mark.parametrize("request_of", REQUESTS)
def test_no_answer_tells_of_what_is_not_on_disk(stage: Stage, request_of: Callable[[Actor, int], Any]) -> None:
    """Whatever is answered before the commit speaks of one record only; the rest is answered after it."""
    bob = stage.client("bob")
    number = bob.open("room").number
    held = Held(stage)
    bob.send(request_of(bob, number))
    stage.turn()
    early = list(bob.came)
    bob.came.clear()
    assert all(told(frame) <= 1 for frame in early), early
    held.go_on()
    stage.until(lambda: bool(early) or not bob.silent, bob.wire.arrived)


def told(frame: Any) -> int:
    """The highest offset that a frame reveals."""
    if isinstance(frame, Error):
        return int(frame.detail.get("last", 0))
    if isinstance(frame, Reply):
        rows = frame.result.get("channels", [frame.result])
        return max((row.get("last", 0) for row in rows), default=0)
    if isinstance(frame, Published):
        return max(offset for _, offset, _ in frame.acks)
    if isinstance(frame, Deliver):
        return read_records(frame.batches)[-1].offset
    return int(max(getattr(frame, name, 0) for name in ("last", "high", "after")))


def test_a_duplicate_of_what_is_not_on_disk_waits_too(held: Held) -> None:
    again = held.alice.publishing(held.number, "two", sequence=2)
    held.alice.send(again)
    held.stage.turn()
    assert held.alice.silent
    held.go_on()
    acks = [ack for frame in held.alice.came if isinstance(frame, Published) for ack in frame.acks]
    assert sorted(acks) == [(held.second.request, 2, False), (again.request, 2, True)]


def test_a_gap_does_not_reveal_what_is_not_on_disk(held: Held) -> None:
    held.alice.send(held.alice.publishing(held.number, "x", sequence=9))
    held.stage.turn()
    assert held.alice.silent
    held.go_on()
    assert [frame.detail for frame in held.alice.came if isinstance(frame, Error)] == [{"expected": 3}]


def test_a_new_channel_is_not_opened_before_it_is_on_disk(stage: Stage) -> None:
    alice, bob = stage.client("alice"), stage.client("bob")
    stage.log.hold()
    alice.send(Open(1, "room"))
    stage.hold_in_commit()
    bob.send(Open(1, "room"))
    bob.send(Info(2, "room"))
    stage.turn()
    assert alice.silent and bob.silent
    stage.log.go_on()
    assert alice.expect(Opened)[1:] == bob.expect(Opened)[1:]


def test_changes_are_on_disk_before_they_are_answered(stage: Stage) -> None:
    alice = stage.client()
    alice.publish_many(alice.open("room").number, 3)
    for frame in (Truncate(11, "room", 2), Configure(12, "room", {"records": 2}), Delete(13, "room")):
        stage.log.hold()
        alice.send(frame)
        stage.hold_in_commit()
        assert alice.silent
        stage.log.go_on()
        assert alice.expect(Reply).request == frame.request


def test_a_failed_commit_is_the_last_one(held: Held) -> None:
    error = OSError("the disk is gone")
    held.stage.log.failure = error
    held.alice.send(held.alice.publishing(held.number, "three", sequence=3))
    held.stage.log.go_on()
    held.stage.until(lambda: bool(held.stage.failures))
    assert held.stage.failures == [error], "the server is told, and ends the process"
    commits = len(held.stage.log.works)
    held.alice.send(held.alice.publishing(held.number, "four", sequence=4))
    held.stage.turn()
    assert [frame for frame in held.alice.came if not isinstance(frame, Error)] == []
    assert len(held.stage.log.works) == commits


# --- groups -----------------------------------------------------------------------------------------------


def test_what_comes_during_a_commit_goes_with_the_next_one(stage: Stage) -> None:
    actors = [stage.client(f"client {index}") for index in range(20)]
    numbers = [actor.open("room").number for actor in actors]
    stage.log.hold()
    actors[0].send(actors[0].publishing(numbers[0], "first"))
    stage.hold_in_commit()
    before = len(stage.log.works)
    for actor, number in zip(actors, numbers, strict=True):
        actor.send(*[actor.publishing(number, "x") for _ in range(5)])
    stage.log.go_on()
    stage.idle()
    assert len(stage.log.works) == before + 1, "one commit for a hundred publishes"
    for actor in actors[1:]:
        [frame] = actor.came
        assert isinstance(frame, Published) and len(frame.acks) == 5, "one frame for its five"


def test_offsets_are_dense_in_the_order_sent(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("room").number
    frames = [alice.publishing(number, *["x"] * size) for size in (3, 1, 5, 2)]
    alice.send(*frames)
    assert alice.expect(Published).acks == [
        (frame.request, offset, False) for frame, offset in zip(frames, (1, 4, 5, 10), strict=True)
    ]


def test_everybody_gets_the_same_bytes_and_they_are_those_on_disk(stage: Stage) -> None:
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    bob.open("room")
    alice.subscribe(number)
    bob.subscribe(number)
    bob.send(bob.publishing(number, "x", "y"), bob.publishing(number, "z"))
    live = alice.expect(Deliver).batches
    assert bob.expect(Deliver).batches == live
    carol = stage.client("carol")
    carol.open("room")
    carol.subscribe(number)
    assert carol.expect(Deliver).batches == live
    [(_, entries)] = stage.log.recover()
    assert b"".join(entry.batch for entry in entries) == live


def test_what_wakes_the_committer_during_a_commit_wakes_it_for_good(held: Held) -> None:
    """Nothing to write comes of it, and what is published afterwards is written all the same."""
    held.stage.call(held.stage.engine.wake)
    held.go_on()
    held.alice.came.clear()
    assert held.alice.publish(held.number, "three", sequence=3) == (3, False)


def test_idle_is_told_when_the_commit_under_way_ends(held: Held) -> None:
    told: list[str] = []
    held.stage.call(lambda: held.stage.engine.when_idle(lambda: told.append("idle")))
    held.stage.turn()
    assert told == []
    held.stage.log.go_on()
    held.stage.until(lambda: bool(told))
    assert not held.alice.silent, "what was accepted has been acknowledged by then"


def test_requests_are_judged_by_what_was_published_before_them(held: Held) -> None:
    """Though the commit of the publish was under way when they came."""
    held.alice.send(Truncate(50, "room", 3))
    held.stage.log.go_on()
    held.stage.until(lambda: any(isinstance(frame, Reply | Error) for frame in held.alice.came))
    assert Reply(50, {"first": 3}) in held.alice.came


def test_idle_is_told_after_what_waited_for_the_commit(held: Held) -> None:
    held.alice.send(Truncate(50, "room", 3))
    told: list[str] = []
    held.stage.call(lambda: held.stage.engine.when_idle(lambda: told.append("idle")))
    held.stage.log.go_on()
    held.stage.until(lambda: bool(told))
    assert Reply(50, {"first": 3}) in held.alice.came


def test_publishers_are_not_read_from_while_the_disk_is_behind(staged: Staged) -> None:
    stage = staged(commit_backlog_bytes=50_000)
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    stage.log.hold()
    alice.send(alice.publishing(number, "x"))
    stage.hold_in_commit()
    for _ in range(6):
        alice.send(alice.publishing(number, "x" * 10_000))
    assert alice.wire.paused and not bob.wire.paused
    stage.log.go_on()
    stage.idle()
    assert not alice.wire.paused


def test_acknowledgements_fit_their_frames(stage: Stage) -> None:
    """More of them in one commit than one PUBLISHED frame may hold."""
    alice = stage.client("alice", producer=(7, 0))
    number = alice.open("room").number
    alice.publish(number, "x", sequence=1)
    stage.log.hold()
    alice.send(alice.publishing(number, "y", sequence=2))
    stage.hold_in_commit()
    again = alice.publishing(number, "x", sequence=1)
    alice.send(*[again] * 70_000)
    stage.log.go_on()
    stage.idle()
    acks = [ack for frame in alice.came if isinstance(frame, Published) for ack in frame.acks]
    assert len(acks) == 70_001
    assert all(
        len(frame.acks) * 16 + 8 <= limits.FRAME_BYTES_MAX for frame in alice.came if isinstance(frame, Published)
    )


def test_a_group_larger_than_a_frame_reaches_a_live_reader(stage: Stage) -> None:
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    bob.open("room")
    bob.subscribe(number, 1 << 30, start="latest")
    alice.send(*[alice.publishing(number, f"{index}".ljust(700_000)) for index in range(4)])
    assert [int(record.data) for record in bob.records(4)] == [0, 1, 2, 3]


def test_live_frames_stop_when_the_credit_is_used_up(stage: Stage) -> None:
    """One frame may overdraw it, a second one may not."""
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    bob.open("room")
    bob.subscribe(number, 1, start="latest")
    alice.send(*[alice.publishing(number, "x" * 700_000) for _ in range(3)])
    alice.expect(Published)
    assert [record.offset for record in bob.records(1)] == [1]
    bob.send(Ping(1))
    bob.expect(Pong)


# --- ends and beginnings of channels ----------------------------------------------------------------------


def test_a_channel_ends_and_lives_again_in_one_commit(stage: Stage) -> None:
    alice = stage.client()
    old = alice.open("room")
    alice.publish_many(old.number, 3)
    alice.subscribe(old.number, start="latest")
    commits = len(stage.log.works)
    alice.send(Delete(90, "room"), Open(91, "room"))
    assert alice.expect(Resync) == Resync(old.number, "deleted", 3, old.epoch)
    assert alice.expect(Reply).result == {"epoch": old.epoch}
    new = alice.expect(Opened)
    assert (new.first, new.last) == (1, 0) and new.number != old.number and new.epoch != old.epoch
    assert len(stage.log.works) == commits + 1
    assert alice.publish(new.number, "x") == (1, False)
    alice.refused(alice.publishing(old.number, "x"), ErrorCode.UNKNOWN_CHANNEL)


def test_a_channel_deleted_while_it_is_being_created_stays_deleted(staged: Staged) -> None:
    """Its creation is on disk before its deletion is; nobody may find it between the two."""
    stage = staged()
    alice, bob = stage.client("alice"), stage.client("bob")
    stage.log.hold()
    alice.send(Open(1, "room"))
    stage.hold_in_commit()
    bob.send(Delete(1, "room"))
    stage.log.committing.clear()
    stage.log.go_on()
    stage.until(stage.log.committing.is_set)
    old = alice.expect(Opened)
    new = alice.open("room")
    assert new.number != old.number
    assert alice.publish(new.number, "x") == (1, False)
    stage.idle()
    again = reopened(staged, stage).client()
    assert again.open("room")[1:] == (new.number, new.epoch, 1, 1)


def test_what_was_published_to_a_deleted_channel_is_gone(staged: Staged) -> None:
    stage = staged()
    alice = stage.client()
    number = alice.open("room").number
    alice.send(alice.publishing(number, "x"), Delete(90, "room"))
    alice.expect(Published)
    alice.expect(Reply)
    again = reopened(staged, stage)
    again.client().refused(Open(1, "room", create=False), ErrorCode.UNKNOWN_CHANNEL)


def test_a_subscription_that_waits_while_its_channel_is_deleted_is_told(held: Held) -> None:
    bob = held.stage.client("bob")
    bob.send(Open(1, "room"))
    bob.send(bob.subscribing(held.number))
    held.alice.send(Delete(90, "room"))
    held.go_on()
    kinds = [type(frame) for frame in bob.came]
    ended = [frame for frame in bob.came if isinstance(frame, Error | Resync)]
    assert ended and (Subscribed not in kinds or Resync in kinds)
    bob.came.clear()
    bob.refused(bob.publishing(held.number, "x"), ErrorCode.UNKNOWN_CHANNEL)


def test_deleted_channels_are_erased_in_slices_without_being_asked_for(staged: Staged, tmp_path: Path) -> None:
    stage = staged(LmdbLog(tmp_path, 1 << 26), journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.publish_many(number, 40, "x" * 40_000)
    stage.settle("room")
    alice.result(Delete(90, "room"))
    stage.until(lambda: stage.log.read(number, 1, 1) == [])


# --- memory -----------------------------------------------------------------------------------------------


def test_a_channel_with_a_change_under_way_is_not_let_go_of(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    alice.publish_many(alice.open("room").number, 10)
    stage.settle("room")
    alice.leave()
    (alice := stage.client()).publish_many(alice.open("room").number, 1)
    stage.settle("room")
    bob = stage.client("bob")
    stage.log.hold()
    bob.send(Truncate(1, "room", 6))
    stage.hold_in_commit()
    alice.leave()
    stage.call(lambda: stage.engine.tick(0))
    bob.send(Info(2, "room"))
    stage.log.go_on()
    stage.idle()
    answers = [frame.result["first"] for frame in bob.came if isinstance(frame, Reply)]
    bob.came.clear()
    assert answers == [6, 6] and bob.info("room")["first"] == 6


@pytest.mark.parametrize("published", [True, False])
def test_channels_that_nobody_uses_any_more_leave_memory(time: Time, staged: Staged, published: bool) -> None:
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    for index in range(20):
        number = alice.open(f"room {index}").number
        if published:
            alice.publish_many(number, 1)
    time.advance(5_000)
    alice.leave()
    for _ in range(5):
        stage.tick()
        time.advance(60_000)
    assert len(stage.engine.hub) == 0


def test_records_leave_memory_when_they_lie_in_chunks(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.publish_many(number, 50, "x" * 1_000)
    stage.settle("room")
    assert not stage.channel("room").in_tail(50)
    alice.send(History(1, number, start="earliest"))
    assert alice.expect(Page).high == 50
    stage.until(lambda: stage.log.stats().journal_values == 0)
