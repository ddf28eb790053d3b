from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outlast_broker.damage import Damaged
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import CUT_CHUNKS
from outlast_broker.memory_log import MemoryLog
from outlast_broker.retention import Retention
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
from tests.support.bounds import bounded

Staged = Callable[..., Stage]
DAY_MS = 86_400_000


def publish_many(actor: Actor, number: int, count: int, *datas: str) -> None:
    """So many publishes at once, all acknowledged."""
    actor.send(*[actor.publishing(number, *(datas or ("x",))) for _ in range(count)])
    while count:
        count -= len(actor.expect(Published).acks)


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
    publish_many(alice, alice.open("room").number, 3)
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
    held.go_on()
    assert [frame.result for frame in held.alice.came if isinstance(frame, Reply)] == [{"first": 3}]


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
    publish_many(alice, old.number, 3)
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
    publish_many(alice, number, 40, "x" * 40_000)
    stage.settle("room")
    alice.result(Delete(90, "room"))
    stage.until(lambda: stage.log.read(number, 1, 1) == [])


# --- what time and retention change -----------------------------------------------------------------------


def test_an_idle_channel_is_deleted(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice = stage.client()
    publish_many(alice, alice.open("room").number, 1)
    alice.leave()
    time.advance(DAY_MS - 1)
    stage.tick()
    assert stage.engine.open("room", create=False) is not None
    time.advance(2_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is None


def test_a_publish_keeps_a_channel_from_idling_away(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    for _ in range(3):
        alice = stage.client()
        publish_many(alice, alice.open("room").number, 1)
        alice.leave()
        time.advance(DAY_MS - 5_000)
        stage.tick()
    assert stage.engine.open("room", create=False) is not None


def test_a_reader_keeps_a_channel_from_idling_away(time: Time, staged: Staged) -> None:
    """While it reads, and for the same time after it has left."""
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice = stage.client()
    alice.open("room")
    for _ in range(5):
        time.advance(DAY_MS)
        stage.tick()
    alice.leave()
    time.advance(DAY_MS - 5_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is not None
    time.advance(10_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is None


def test_channels_in_use_do_not_keep_idle_ones_from_going(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice, bob = stage.client("alice"), stage.client("bob")
    alice.send(*[Open(1 + index, f"busy {index}") for index in range(300)])
    for _ in range(300):
        alice.expect(Opened)
    time.advance(10)
    bob.open("idle")
    bob.leave()
    time.advance(DAY_MS + 5_000)
    for _ in range(5):
        stage.tick()
        time.advance(1_000)
    assert stage.engine.open("idle", create=False) is None


def test_a_bound_beyond_all_time_is_answered_and_harms_nobody(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("room").number
    for request, bound in enumerate((2**63 - 1, 2**63, 2**64 - 1)):
        retention: dict[str, int | None] = {"idle_ttl_ms": bound, "age_ms": bound, "bytes": bound, "records": bound}
        alice.send(Configure(100 + request, "room", retention))
        stage.idle()
        assert len(alice.came) == 1
        alice.came.clear()
    assert alice.publish(number, "x") == (1, False)
    assert stage.failures == []


def retained(staged: Staged, **bounds: int) -> tuple[Stage, Actor, int]:
    """A channel with these bounds, whose records move into chunks with every chance."""
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.result(Configure(90, "room", dict(bounds)))
    return stage, alice, number


def test_old_records_go_from_a_quiet_channel(time: Time, staged: Staged) -> None:
    stage, alice, number = retained(staged, age_ms=DAY_MS)
    publish_many(alice, number, 3)
    stage.settle("room")
    time.advance(DAY_MS - 1_000)
    stage.tick()
    assert alice.info("room")["first"] == 1
    time.advance(5_000)
    stage.tick()
    stage.tick()
    assert alice.info("room")["first"] == 4


def test_too_many_bytes_go_from_a_quiet_channel(staged: Staged) -> None:
    stage, alice, number = retained(staged, bytes=100_000)
    publish_many(alice, number, 30, "x" * 20_000)
    stage.settle("room")
    stage.tick()
    info = alice.info("room")
    assert 100_000 <= info["bytes"] <= 100_000 + 40_000 and info["last"] == 30


def test_the_count_of_records_is_exact(staged: Staged) -> None:
    stage, alice, number = retained(staged, records=7)
    publish_many(alice, number, 10, "x", "y", "z")
    stage.settle("room")
    stage.tick()
    info = alice.info("room")
    assert (info["first"], info["last"]) == (24, 30)


def test_the_bytes_of_a_channel_are_those_of_its_chunks(staged: Staged) -> None:
    """Also where a small chunk grows with every move and its beginning is forgotten."""
    stage, alice, number = retained(staged, records=2)
    for _ in range(30):
        publish_many(alice, number, 1, "x" * 200)
        stage.settle("room")
        kept = sum(facts.bytes for facts in stage.log.oldest(number, 99))
        assert stage.channel("room").stored_bytes == kept
    stage.tick()
    assert 0 <= alice.info("room")["bytes"] == sum(facts.bytes for facts in stage.log.oldest(number, 99))


def test_trimming_much_never_takes_much_of_one_commit(staged: Staged, tmp_path: Path) -> None:
    stage = staged(LmdbLog(tmp_path, 1 << 28), journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    for _ in range(3):
        publish_many(alice, number, CUT_CHUNKS, "x" * 33_000)
        stage.settle("room")
    count = len(stage.log.oldest(number, 10_000))
    assert count == 3 * CUT_CHUNKS
    alice.result(Truncate(90, "room", 3 * CUT_CHUNKS + 1))
    counts = [count]
    while counts[-1]:
        stage.until(lambda: len(stage.log.oldest(number, 10_000)) < counts[-1])
        counts.append(len(stage.log.oldest(number, 10_000)))
    assert all(before - after <= 2 * CUT_CHUNKS for before, after in zip(counts, counts[1:], strict=False))
    assert alice.publish(number, "x") == (3 * CUT_CHUNKS + 1, False)
    assert alice.info("room")["bytes"] < 1_000


class Torn(MemoryLog):
    torn = False

    def oldest(self, number: int, count: int) -> Any:
        if self.torn:
            raise Damaged("the head of a chunk fails its checksum")
        return super().oldest(number, count)


def test_damage_found_while_trimming_stops_nobody_else(staged: Staged) -> None:
    log = Torn()
    stage = staged(log, journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    publish_many(alice, number, 3)
    stage.settle("room")
    log.torn = True
    alice.result(Truncate(90, "room", 2))
    assert alice.publish(alice.open("other").number, "x") == (1, False)
    assert stage.failures == [] and stage.engine.counters.damaged


# --- starting again ---------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "lmdb"])
def restarting(request: pytest.FixtureRequest, staged: Staged, tmp_path: Path) -> Callable[[Stage | None], Stage]:
    """Starts a stage, or crashes one and starts another on what it left."""

    def start(before: Stage | None) -> Stage:
        left = before.crash() if before else None
        if request.param == "memory":
            return staged(left, journal_age_ms=0)
        if left is not None:
            left.close()
        return staged(LmdbLog(tmp_path, 1 << 26), journal_age_ms=0)

    return start


def test_everything_acknowledged_is_there_after_a_restart(restarting: Callable[[Stage | None], Stage]) -> None:
    first = restarting(None)
    alice = first.client("alice", producer=(7, 0))
    room, other = alice.open("room"), alice.open("other")
    publish_many(alice, room.number, 5, "x", "y")
    publish_many(alice, other.number, 1)
    alice.result(Truncate(90, "room", 4))
    alice.result(Configure(91, "other", {"records": 50}))
    first.settle("other")
    publish_many(alice, other.number, 1)
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
    publish_many(alice, alice.open("gone").number, 3)
    publish_many(alice, alice.open("room").number, 2)
    alice.result(Delete(90, "gone"))
    stage = restarting(stage)
    bob = stage.client()
    bob.refused(Open(1, "gone", create=False), ErrorCode.UNKNOWN_CHANNEL)
    assert bob.open("room").last == 2


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


# --- memory -----------------------------------------------------------------------------------------------


def test_a_channel_with_a_change_under_way_is_not_let_go_of(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    publish_many(alice, alice.open("room").number, 10)
    stage.settle("room")
    alice.leave()
    publish_many(alice := stage.client(), alice.open("room").number, 1)
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
            publish_many(alice, number, 1)
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
    publish_many(alice, number, 50, "x" * 1_000)
    stage.settle("room")
    assert not stage.channel("room").in_tail(50)
    alice.send(History(1, number, start="earliest"))
    assert alice.expect(Page).high == 50
    stage.until(lambda: stage.log.stats().journal_values == 0)
