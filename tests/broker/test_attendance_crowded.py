"""PROTOCOL.md 6.11 with sockets that do not drain, and with ten thousand members."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from outlast_broker import attendance as attendance_module
from outlast_broker.attendance import FRAME_ROWS
from outlast_broker.presence import LEFT, PRESENT
from outlast_protocol.frames import Leave, Presence, Reply, Watch, encode
from outlast_protocol.limits import FRAME_BYTES_MAX

from tests.broker.stage import Actor, Stage

from .test_attendance import attendance, change, crowd, enter, guest, snapshot, watch

Staged = Callable[..., Stage]
ROOM = 10_000


# --- sockets that do not drain ------------------------------------------------------------------------------


def test_who_does_not_drain_gets_a_new_snapshot_when_it_does(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    watch(alice, number)
    watch(bob, number)
    stage.call(bob.connection.clog)
    for member in range(5):
        enter(alice, number, member)
        change(alice)
    alice.result(Leave(50, number, 2))
    change(alice)
    assert bob.silent
    stage.call(bob.connection.unclog)
    assert [row[1] for row in snapshot(bob)] == [0, 1, 3, 4]
    enter(alice, number, 9)
    assert change(bob).members[0][1] == 9


def test_who_wants_counts_and_does_not_drain_gets_the_newest(stage: Stage) -> None:
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    watch(alice, number)
    watch(bob, number, rows=False)
    stage.call(bob.connection.clog)
    for member in range(3):
        enter(alice, number, member)
        change(alice)
    stage.call(bob.connection.unclog)
    assert bob.expect(Presence) == Presence(number, 3, 0, snapshot=True)


class Full:
    """A wire that takes one write, and then says that it is full."""

    def __init__(self, stage: Stage, actor: Actor) -> None:
        self._stage, self._actor = stage, actor
        self._write = actor.wire.write
        setattr(actor.wire, "write", self.write)  # noqa: B010

    def write(self, data: bytes) -> None:
        self._write(data)
        self._actor.connection.clog()

    def drain(self) -> None:
        self._stage.call(self._actor.connection.unclog)
        self._stage.turn()


def test_a_large_snapshot_comes_as_fast_as_the_socket_takes_it(staged: Staged) -> None:
    """What changes meanwhile comes behind it, for those who were in it already."""
    stage = staged(reader_buffer_bytes=100_000)
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    crowd(alice, number, 2_000, bytes(500))
    full = Full(stage, bob)
    bob.send(Watch(50, number))
    assert bob.expect(Reply)
    first = bob.expect(Presence)
    assert first.more and bob.silent
    crowd(alice, number, 1, b"changed")
    alice.send(Leave(90_000, number, 1), Leave(90_001, number, 1_999))
    stage.call(attendance(stage).tell)
    rows, frames = first.members, 1
    while True:
        full.drain()
        frame = bob.expect(Presence)
        assert len(encode(frame)) < FRAME_BYTES_MAX and len(frame.members) <= FRAME_ROWS
        rows += frame.members
        frames += 1
        if not frame.more:
            break
    assert [row[1] for row in rows] == list(range(1_999)) and frames > 3
    late = change(bob)
    assert {row[1]: (row[2], row[4]) for row in late.members} == {0: (PRESENT, b"changed"), 1: (LEFT, bytes(500))}
    assert bob.silent


def test_when_too_much_changes_meanwhile_a_second_snapshot_follows(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance_module, "MISSED_MAX", 10)
    stage = staged(reader_buffer_bytes=20_000)
    alice, number = guest(stage, "alice")
    bob, _ = guest(stage, "bob")
    for first in range(0, 2_000, 500):
        crowd(alice, number, 500, first=first)
    full = Full(stage, bob)
    bob.send(Watch(50, number))
    assert bob.expect(Reply) and bob.expect(Presence).more
    crowd(alice, number, 20, b"changed")
    stage.call(attendance(stage).tell)
    rows = []
    while bob.connection.lagging:
        full.drain()
        rows.append(bob.expect(Presence))
    assert [frame.more for frame in rows] == [False, True, False]
    assert [row[4] for row in rows[1].members[:21]] == [b"changed"] * 20 + [b""]
    assert bob.silent


# --- what a full room costs ---------------------------------------------------------------------------------


def test_ten_thousand_members_cost_what_they_are(stage: Stage) -> None:
    """Each row goes to each watcher once; who only counts gets a frame for each turn of the timer."""
    alice, number = guest(stage, "alice")
    viewers = [guest(stage, f"viewer {index}")[0] for index in range(3)]
    for viewer in viewers:
        watch(viewer, number)
    counter, _ = guest(stage, "counter")
    watch(counter, number, rows=False)
    turns = 20
    for turn in range(turns):
        crowd(alice, number, ROOM // turns, first=turn * ROOM // turns)
        stage.call(attendance(stage).tell)
    row_bytes = len(encode(Presence(number, ROOM, 0, [["alice", ROOM, PRESENT, 0, b"", 2**41, ""]])))
    for viewer in viewers:
        sent = b"".join(viewer.wire.written)
        assert len(sent) < ROOM * row_bytes
        frames = [frame for frame in viewer.came if isinstance(frame, Presence)]
        assert [row[1] for frame in frames for row in frame.members] == list(range(ROOM))
        assert len(frames) <= 2 * turns
        viewer.came.clear()
    assert len(b"".join(counter.wire.written)) < turns * 60
    assert [frame.present for frame in counter.came if isinstance(frame, Presence)][-1] == ROOM
    counter.came.clear()
    # One of ten thousand changes: one row goes out, not ten thousand.
    enter(alice, number, 77, b"typing")
    stage.call(attendance(stage).tell)
    assert [len(change(viewer).members) for viewer in viewers] == [1, 1, 1]
    assert counter.silent
    # All are lost and all leave at once.
    alice.leave()
    stage.call(attendance(stage).tell)
    assert [len([row for frame in viewer.came for row in frame.members]) for viewer in viewers] == [ROOM] * 3  # type: ignore[union-attr]


def test_a_snapshot_of_a_room_at_rest_is_made_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, number = guest(stage, "alice")
    crowd(alice, number, ROOM)
    made: list[int] = []
    roster = attendance(stage).roster
    real = type(roster).page
    monkeypatch.setattr(type(roster), "page", lambda *given: made.append(1) or real(*given))
    for index in range(20):
        viewer, _ = guest(stage, f"viewer {index}")
        viewer.send(Watch(50, number))
        assert viewer.expect(Reply) and len(snapshot(viewer)) == ROOM
    assert len(made) == ROOM // FRAME_ROWS
