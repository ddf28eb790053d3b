from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import outlast
import pytest
from outlast.members import Member, MemberChanged, PresenceEvent, PresenceSnapshot, View, member_from
from outlast_protocol.frames import Presence

TIME_MS = 1_700_000_000_000
SINCE = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def row(client_id: str, status: int = 0, data: bytes = b"hello", reason: str = "", member_id: int = 1) -> list[Any]:
    return [client_id, member_id, status, 1, data, TIME_MS, reason]


def told(present: int, *rows: list[Any], away: int = 0, snapshot: bool = False, more: bool = False) -> Presence:
    return Presence(9, present, away, list(rows), snapshot, more)


def viewing(*rows: list[Any]) -> View:
    """A view whose snapshot has come."""
    view = View()
    view.begin(has_rows=True)
    view.apply(told(len(rows), *rows, snapshot=True))
    return view


def names(event: PresenceEvent) -> list[str]:
    assert isinstance(event, PresenceSnapshot)
    return [member.client_id for member in event.members]


def test_a_row_is_a_member() -> None:
    assert member_from(["alice", 7, 1, 2, b'{"x":1}', TIME_MS, ""]) == Member("alice", 7, "away", {"x": 1}, SINCE)
    assert member_from(["alice", 7, 2, 0, b"\xff", TIME_MS, "left"]).data == b"\xff"


@pytest.mark.parametrize(
    "wrong", [[], ["a", 1, 3, 0, b"", 1, ""], ["a", 1, 0, 1, None, 1, ""], ["a", 1, 0, 0, b"", 2**63, ""]]
)
def test_what_is_no_row_is_a_violation(wrong: list[Any]) -> None:
    with pytest.raises(outlast.Violation):
        viewing().apply(told(1, wrong))


def test_a_snapshot_comes_in_pieces_and_replaces_what_was_known() -> None:
    view = viewing(row("old"))
    view.begin(has_rows=True)
    assert view.apply(told(3, row("b"), snapshot=True, more=True)) == []
    assert view.apply(told(3, row("a"), snapshot=True, more=True)) == []
    assert not view.is_whole and names(view.snapshot()) == ["old"]
    [event] = view.apply(told(2, row("ä"), away=1, snapshot=True))
    assert names(event) == ["a", "b", "ä"]
    assert (event.present, event.away, view.is_whole) == (2, 1, True)


def test_a_snapshot_that_was_cut_off_is_forgotten() -> None:
    view = viewing()
    view.apply(told(2, row("a"), snapshot=True, more=True))
    view.begin(has_rows=True)
    [event] = view.apply(told(1, row("b"), snapshot=True))
    assert names(event) == ["b"]


def test_changes_say_what_a_member_is_now() -> None:
    view = viewing(row("a"))
    assert view.apply(told(2, row("b"))) == [MemberChanged(2, 0, Member("b", 1, "present", "hello", SINCE))]
    [event] = view.apply(told(1, row("a", 1), away=1))
    assert isinstance(event, MemberChanged) and event.member.status == "away" and event.occupied
    [event] = view.apply(told(1, row("a", 2, reason="timed_out")))
    assert isinstance(event, MemberChanged) and (event.member.status, event.member.reason) == ("left", "timed_out")
    assert names(view.snapshot()) == ["b"]


def test_what_was_known_is_no_event() -> None:
    """Changes behind a snapshot may repeat it, and tell of those who came and left before it (PROTOCOL.md 6.11)."""
    view = viewing(row("a"))
    assert view.apply(told(1, row("a"), row("stranger", 2, reason="left"))) == []
    assert view.present == 1


def test_counts_are_those_behind_the_last_frame() -> None:
    view = viewing(row("a"), row("b"))
    assert len(view.apply(told(0, row("a", 2, reason="left"), more=True))) == 1
    assert view.present == 2
    view.apply(told(0, row("b", 2, reason="left")))
    assert view.present == 0


def test_at_the_end_all_have_left() -> None:
    view = viewing(row("a"), row("b", 1))
    events = view.end()
    assert [event.member.reason for event in events if isinstance(event, MemberChanged)] == ["deleted"] * 2
    assert (view.snapshot().members, view.present, view.is_whole, view.end()) == ((), 0, False, [])
