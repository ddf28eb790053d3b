"""PROTOCOL.md 6.11 as clients see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.attendance import unwatch_quietly, watch_attached
from outlast_broker.presence import AWAY, LEFT, PRESENT
from outlast_broker.retention import Retention
from outlast_protocol import ErrorCode
from outlast_protocol.frames import (
    Delete,
    Enter,
    Leave,
    Members,
    Open,
    Presence,
    Reply,
    Resync,
    Unwatch,
    Watch,
)
from outlast_protocol.limits import GRACE_MS_MAX, MEMBER_DATA_BYTES_MAX, MEMBERS_MAX

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]


def guest(stage: Stage, name: str, room: str = "room") -> tuple[Actor, int]:
    """Somebody who has opened the room."""
    actor = stage.client(name)
    return actor, actor.open(room).number


def enter(actor: Actor, number: int, member: int = 1, data: bytes = b"", grace_ms: int = 1_000) -> dict[str, int]:
    return actor.result(Enter(actor.request(), number, member, 1, data, grace_ms))


def watch(actor: Actor, number: int, rows: bool = True) -> list[list[Any]]:
    """The rows of the snapshot."""
    actor.result(Watch(actor.request(), number, rows))
    return snapshot(actor)


def snapshot(actor: Actor) -> list[list[Any]]:
    rows: list[list[Any]] = []
    while True:
        frame = actor.expect(Presence)
        assert frame.snapshot
        rows += frame.members
        if not frame.more:
            return rows


def change(actor: Actor) -> Presence:
    """The next changes; the timer that gathers them may run first."""
    frame = actor.expect(Presence)
    assert not frame.snapshot and not frame.more
    return frame


def statuses(rows: list[list[Any]]) -> dict[str, int]:
    return {client: status for client, _, status, *_ in rows}


def members(actor: Actor, **what: Any) -> dict[str, Any]:
    return actor.result(Members(actor.request(), "room", **what))


def crowd(actor: Actor, number: int, count: int, data: bytes = b"", first: int = 0) -> None:
    """So many members by one read of one socket, and their answers taken."""
    actor.send(*[Enter(first + index + 1, number, first + index, 0, data) for index in range(count)])
    assert all(isinstance(frame, Reply) for frame in actor.came)
    actor.came.clear()


# --- ENTER, LEAVE and MEMBERS -----------------------------------------------------------------------------


def test_who_enters_is_there_until_it_leaves(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    assert enter(alice, number, 7, b"hello") == {"present": 1, "away": 0}
    assert members(alice) == {
        "members": [["alice", 7, PRESENT, 1, b"hello", time.ms, ""]],
        "more": False,
        "present": 1,
        "away": 0,
    }
    assert alice.result(Leave(50, number, 7)) == {"present": 0, "away": 0}
    assert alice.result(Leave(51, number, 7)) == {"present": 0, "away": 0}
    assert members(alice)["members"] == []


def test_entering_again_updates_it(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    since_ms = time.ms
    enter(alice, number, 7, b"hello")
    time.advance(50)
    enter(alice, number, 7, b"typing")
    assert members(alice)["members"] == [["alice", 7, PRESENT, 1, b"typing", since_ms, ""]]


def test_members_come_in_pages(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    for member in (2, 1):
        enter(alice, number, member)
        enter(bob, number, member)
    page = members(alice, limit=3)
    assert [row[:2] for row in page["members"]] == [["alice", 1], ["alice", 2], ["bob", 1]] and page["more"]
    page = members(alice, after_client="bob", after_member=1, limit=3)
    assert [row[:2] for row in page["members"]] == [["bob", 2]] and not page["more"]


def test_the_fullest_page_fits_a_reply(stage: Stage) -> None:
    alice, number = guest(stage, "a" * 128)
    crowd(alice, number, 1_000, bytes(MEMBER_DATA_BYTES_MAX))
    page = members(alice, limit=1_000)
    assert page["more"] and len(page["members"]) > 800
    last = page["members"][-1][1]
    rest = members(alice, after_client="a" * 128, after_member=last, limit=1_000)
    assert len(page["members"]) + len(rest["members"]) == 1_000


@pytest.mark.parametrize(
    "frame",
    [
        Enter(50, 1, 1, 3),
        Enter(50, 1, 1, 0, b"", GRACE_MS_MAX + 1),
        Members(50, "room", limit=0),
        Members(50, "room", limit=1_001),
        Members(50, "room", after_client="a"),
    ],
)
def test_what_makes_no_sense_is_refused(stage: Stage, frame: Enter | Members) -> None:
    alice, number = guest(stage, "alice")
    if isinstance(frame, Enter):
        frame = frame._replace(number=number)
    assert alice.refused(frame, ErrorCode.BAD_BODY)
    assert members(alice)["members"] == []


def test_data_has_a_bound(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    enter(alice, number, 1, bytes(MEMBER_DATA_BYTES_MAX))
    error = alice.refused(Enter(50, number, 1, 0, bytes(MEMBER_DATA_BYTES_MAX + 1)), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "member_data_bytes", "value": MEMBER_DATA_BYTES_MAX}


def test_a_channel_and_a_connection_have_so_many_members(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    other = alice.open("other").number
    crowd(alice, number, MEMBERS_MAX)
    for actor, where in ((bob, number), (alice, other)):
        error = actor.refused(Enter(90_000, where, 0), ErrorCode.LIMIT_EXCEEDED)
        assert error.detail == {"limit": "members", "value": MEMBERS_MAX}
    assert enter(alice, number, 5)["present"] == MEMBERS_MAX
    alice.result(Leave(90_001, number, 6))
    assert enter(bob, number, 0)["present"] == MEMBERS_MAX


def test_a_channel_must_be_open_or_exist(stage: Stage) -> None:
    alice = stage.client("alice")
    for frame in (Enter(50, 9, 1), Leave(51, 9, 1), Watch(52, 9), Unwatch(53, 9), Members(54, "nowhere")):
        assert alice.refused(frame, ErrorCode.UNKNOWN_CHANNEL)


def test_members_tells_of_no_channel_that_is_not_on_disk(stage: Stage) -> None:
    alice = stage.client("alice")
    alice.open("other")
    stage.log.hold()
    bob = stage.client("bob")
    bob.send(Open(bob.request(), "room"))
    stage.hold_in_commit()
    alice.send(Members(50, "room"))
    stage.turn()
    assert alice.silent
    stage.log.go_on()
    assert alice.expect(Reply).result["members"] == []


# --- WATCH ------------------------------------------------------------------------------------------------


def test_a_watcher_gets_who_is_there_and_then_what_changes(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    enter(alice, number, 7, b"hello")
    request = Watch(50, number)
    bob.send(request)
    assert bob.expect(Reply) == Reply(50, {"present": 1, "away": 0})
    assert snapshot(bob) == [["alice", 7, PRESENT, 1, b"hello", time.ms, ""]]
    enter(bob, number, 1)
    assert change(bob) == Presence(number, 2, 0, [["bob", 1, PRESENT, 1, b"", time.ms, ""]])
    alice.result(Leave(50, number, 7))
    assert change(bob) == Presence(number, 1, 0, [["alice", 7, LEFT, 1, b"hello", time.ms, "left"]])
    assert alice.silent


def test_an_empty_channel_has_a_snapshot_too(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    assert watch(alice, number) == []
    assert stage.channel("room").users == 1


def test_changes_are_gathered_and_all_get_the_same_bytes(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    watchers = [guest(stage, name)[0] for name in ("bob", "carol")]
    for watcher in watchers:
        watch(watcher, number)
    enter(alice, number, 1)
    for watcher in watchers:
        change(watcher)
    crowd(alice, number, 50, b"first", first=100)
    crowd(alice, number, 50, b"second", first=100)
    stage.until(lambda: all(watcher.wire.written for watcher in watchers))
    assert watchers[0].wire.written == watchers[1].wire.written
    for watcher in watchers:
        frame = change(watcher)
        assert (frame.present, len(frame.members)) == (51, 50)
        assert {row[4] for row in frame.members} == {b"second"}
        assert watcher.silent


def test_a_lonely_change_does_not_wait(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    watch(alice, number)
    enter(alice, number)
    stage.turn()
    assert change(alice).present == 1
    enter(alice, number, data=b"typing")
    stage.turn()
    assert alice.silent
    assert change(alice).members[0][4] == b"typing"


def test_who_wants_counts_gets_only_those(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    enter(alice, number, 1)
    bob, _ = guest(stage, "bob")
    assert watch(bob, number, rows=False) == []
    enter(alice, number, 2)
    assert change(bob) == Presence(number, 2, 0)
    enter(alice, number, 2, b"typing")
    enter(alice, number, 3)
    assert change(bob) == Presence(number, 3, 0)
    assert bob.silent


def test_who_unwatches_is_told_nothing_more(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    watch(bob, number)
    assert bob.result(Unwatch(60, number)) == {}
    assert bob.result(Unwatch(61, number)) == {}
    watch(alice, number)
    enter(alice, number)
    change(alice)
    assert bob.silent


def test_watching_again_begins_anew(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    enter(alice, number)
    assert watch(alice, number, rows=False) == []
    assert len(watch(alice, number)) == 1
    alice.result(Leave(50, number, 1))
    assert change(alice).members[0][2] == LEFT
    assert alice.silent


def test_attach_watches_by_these(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    enter(alice, number)
    channel = stage.channel("room")
    stage.call(lambda: (watch_attached(alice.connection, channel), stage.engine.outbox.flush()))
    assert statuses(snapshot(alice)) == {"alice": PRESENT}
    enter(alice, number, 2)
    assert change(alice).present == 2
    stage.call(lambda: unwatch_quietly(alice.connection, channel))
    stage.call(lambda: unwatch_quietly(alice.connection, channel))
    assert not channel.attendance.watchers  # type: ignore[union-attr]


def test_what_attach_and_watch_began_each_ends_by_itself(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    channel = stage.channel("room")
    watch(alice, number, rows=False)
    stage.call(lambda: (watch_attached(alice.connection, channel), stage.engine.outbox.flush()))
    snapshot(alice)
    enter(alice, number)
    assert len(change(alice).members) == 1
    stage.call(lambda: unwatch_quietly(alice.connection, channel))
    enter(alice, number, 2)
    assert change(alice) == Presence(number, 2, 0)
    alice.result(Unwatch(60, number))
    assert not attendance(stage).watchers


# --- connections that end -----------------------------------------------------------------------------------


def test_who_is_lost_is_away_and_then_has_left(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    watch(bob, number)
    enter(alice, number, 7, grace_ms=20)
    change(bob)
    alice.leave()
    frame = change(bob)
    assert (frame.present, frame.away, statuses(frame.members)) == (0, 1, {"alice": AWAY})
    time.advance(20)
    frame = change(bob)
    assert (frame.present, frame.away) == (0, 0)
    assert frame.members == [["alice", 7, LEFT, 1, b"", time.ms, "timed_out"]]


def test_who_comes_back_in_time_was_only_away(time: Time, stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    enter(alice, number, 7)
    alice.leave()
    again, _ = guest(stage, "alice")
    assert enter(again, number, 7) == {"present": 1, "away": 0}
    time.advance(5_000)
    stage.call(attendance(stage).lapse)
    assert statuses(members(bob)["members"]) == {"alice": PRESENT}


def test_the_end_of_an_older_connection_turns_nobody_away(stage: Stage) -> None:
    old, number = guest(stage, "alice")
    enter(old, number, 7)
    enter(old, number, 8)
    new, _ = guest(stage, "alice")
    enter(new, number, 7)
    old.leave()
    assert [row[1:3] for row in members(new)["members"]] == [[7, PRESENT], [8, AWAY]]
    new.leave()
    bob, _ = guest(stage, "bob")
    assert members(bob)["away"] == 2


def test_a_watcher_that_is_gone_is_told_nothing(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    watch(alice, number)
    enter(alice, number)
    alice.leave()
    assert not attendance(stage).watchers and not alice.connection.members


def attendance(stage: Stage) -> Any:
    return stage.channel("room").attendance


# --- the channel --------------------------------------------------------------------------------------------


def test_a_deleted_channel_has_nobody_left(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    carol, _ = guest(stage, "carol")
    dave, _ = guest(stage, "dave")
    watch(bob, number)
    watch(carol, number, rows=False)
    enter(alice, number)
    change(bob)
    change(carol)
    dave.subscribe(number)
    enter(dave, number)
    change(bob)
    change(carol)
    stage.log.hold()
    alice.send(Delete(60, "room"))
    stage.hold_in_commit()
    assert bob.silent and carol.silent
    stage.log.go_on()
    frame = change(bob)
    assert (frame.present, frame.away) == (0, 0)
    assert {(row[0], row[2], row[6]) for row in frame.members} == {
        ("alice", LEFT, "deleted"),
        ("dave", LEFT, "deleted"),
    }
    assert change(carol) == Presence(number, 0, 0)
    for actor in (alice, bob, carol, dave):
        assert actor.expect(Resync).reason == "deleted"
    assert alice.expect(Reply).request == 60
    assert all(actor.silent for actor in (alice, bob, carol, dave))
    assert not alice.connection.members and not bob.connection.watches
    assert bob.refused(Watch(61, number), ErrorCode.UNKNOWN_CHANNEL)


def test_in_its_next_life_nobody_is_there(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    enter(alice, number)
    alice.leave()
    bob, _ = guest(stage, "bob")
    bob.result(Delete(60, "room"))
    number = bob.open("room").number
    assert watch(bob, number) == []
    enter(bob, number)
    assert statuses(change(bob).members) == {"bob": PRESENT}


def test_one_that_does_not_drain_is_told_of_the_deletion_by_resync(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    carol, _ = guest(stage, "carol")
    enter(alice, number)
    watch(bob, number)
    stage.call(bob.connection.clog)
    carol.result(Delete(60, "room"))
    assert alice.expect(Resync).reason == "deleted"
    assert bob.expect(Resync).reason == "deleted"
    stage.call(bob.connection.unclog)
    stage.turn()
    assert bob.silent and alice.silent


def test_a_channel_with_members_stays_in_memory_and_is_not_idle(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=1_000), journal_age_ms=0)
    alice, number = guest(stage, "alice")
    enter(alice, number, grace_ms=10_000)
    alice.publish(number, "x")
    stage.settle("room")
    alice.leave()
    for _ in range(5):
        time.advance(1_000)
        stage.tick()
    bob = stage.client("bob")
    assert members(bob)["away"] == 1
    time.advance(5_000)
    stage.call(attendance(stage).lapse)
    for _ in range(3):
        time.advance(2_000)
        stage.tick()
    assert bob.refused(Members(50, "room"), ErrorCode.UNKNOWN_CHANNEL)


def test_a_channel_that_all_have_left_leaves_memory(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = guest(stage, "alice")
    enter(alice, number, grace_ms=0)
    alice.publish(number, "x")
    stage.settle("room")
    alice.leave()
    stage.tick()
    assert len(stage.engine.hub) == 0


def test_presence_is_not_kept_over_a_restart(staged: Staged) -> None:
    first = staged()
    alice, number = guest(first, "alice")
    enter(alice, number)
    second = staged(first.crash())
    bob, number = guest(second, "bob")
    assert watch(bob, number) == []
