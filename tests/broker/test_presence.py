from __future__ import annotations

from typing import TypeAlias

import msgpack
import pytest
from hypothesis import given, strategies as st
from outlast_broker.presence import AWAY, LEFT, PRESENT, Key, Member, Roster
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CLIENT_ID_BYTES_MAX, MEMBER_DATA_BYTES_MAX, MEMBERS_MAX

from tests.support.bounds import bounded

Step: TypeAlias = tuple[str, Key, int]
NOW_MS = 1_700_000_000_000
ALL = 1 << 30


def entered(roster: Roster, *names: str, grace_ms: int = 1_000) -> list[Key]:
    keys = [(name.encode(), 1) for name in names]
    for key in keys:
        roster.enter(key, 1, b"hello", grace_ms, NOW_MS)
    return keys


def names(members: list[Member]) -> list[str]:
    return [member.key[0].decode() for member in members]


# --- against a model --------------------------------------------------------------------------------------


class Model:
    """Each member's status, and when its grace is over; what the last change of each was."""

    def __init__(self) -> None:
        self.there: dict[Key, tuple[int, int]] = {}
        self.changed: dict[Key, int] = {}

    def step(self, what: str, key: Key, grace_ms: int, now_ms: int) -> None:
        status = self.there.get(key, (LEFT, 0))[0]
        if what == "enter":
            self._set(key, PRESENT, 0)
        elif what == "leave" and status != LEFT:
            self._set(key, LEFT, 0)
        elif what == "lose" and status == PRESENT:
            self._set(key, AWAY, now_ms + grace_ms) if grace_ms else self._set(key, LEFT, 0)
        elif what == "lapse":
            for each in [each for each, (status, over) in self.there.items() if status == AWAY and over <= now_ms]:
                self._set(each, LEFT, 0)

    def _set(self, key: Key, status: int, over_ms: int) -> None:
        self.there[key] = (status, over_ms)
        self.changed[key] = status
        if status == LEFT:
            del self.there[key]


keys = st.tuples(st.sampled_from([b"a", b"b", b"\xc3\xa4"]), st.integers(0, 2))
steps = st.tuples(st.sampled_from(["enter", "leave", "lose", "lapse"]), keys, st.sampled_from([0, 3, 10]))


@bounded(300)
@given(st.lists(steps, max_size=60))
def test_it_is_what_a_plain_table_would_be(story: list[Step]) -> None:
    roster, model, graces = Roster(), Model(), dict[Key, int]()
    for tick_ms, (what, key, grace_ms) in enumerate(story):
        known = roster.get(key)
        model.step(what, key, graces.get(key, 0), tick_ms)
        if what == "enter":
            graces[key] = grace_ms
            # Data that changes with each step, so that each is a change.
            roster.enter(key, 1, b"%d" % tick_ms, grace_ms, NOW_MS + tick_ms)
        elif what == "leave":
            roster.leave(key, "left", NOW_MS + tick_ms)
        elif what == "lose" and known is not None and known.status == PRESENT:
            roster.lose(key, NOW_MS + tick_ms, tick_ms)
        elif what == "lapse":
            roster.lapse(NOW_MS + tick_ms, tick_ms)
        agree(roster, model)
    assert {member.key: member.status for member in roster.take_changes()} == model.changed
    assert roster.changes == {}


def agree(roster: Roster, model: Model) -> None:
    members = roster.page(None, 100, ALL).members
    assert [member.key for member in members] == sorted(model.there)
    assert {member.key: (member.status, member.deadline_ms) for member in members} == model.there
    statuses = [status for status, _ in model.there.values()]
    assert roster.counts == (statuses.count(PRESENT), statuses.count(AWAY))
    assert roster.next_deadline_ms() == min(
        (over for status, over in model.there.values() if status == AWAY), default=None
    )


# --- one by one -------------------------------------------------------------------------------------------


def test_a_row_says_since_when_a_member_has_its_status() -> None:
    roster = Roster()
    [key] = entered(roster, "phone")
    roster.enter(key, 1, b"typing", 1_000, NOW_MS + 50)
    assert roster.changes[key].row() == ["phone", 1, PRESENT, 1, b"typing", NOW_MS, ""]
    roster.lose(key, NOW_MS + 60, 60)
    assert roster.changes[key].row() == ["phone", 1, AWAY, 1, b"typing", NOW_MS + 60, ""]
    roster.enter(key, 1, b"typing", 1_000, NOW_MS + 70)
    assert roster.changes[key].row() == ["phone", 1, PRESENT, 1, b"typing", NOW_MS + 70, ""]
    roster.leave(key, "left", NOW_MS + 80)
    assert roster.changes[key].row() == ["phone", 1, LEFT, 1, b"typing", NOW_MS + 80, "left"]


def test_entering_again_with_the_same_is_no_change() -> None:
    roster = Roster()
    entered(roster, "phone")
    roster.take_changes()
    entered(roster, "phone")
    assert roster.changes == {} and roster.counts == (1, 0)


def test_one_that_is_not_there_cannot_leave() -> None:
    roster = Roster()
    roster.leave((b"phone", 1), "left", NOW_MS)
    assert roster.changes == {} and roster.counts == (0, 0)


def test_the_time_of_grace_begins_anew_with_each_loss() -> None:
    roster = Roster()
    [key] = entered(roster, "phone", grace_ms=100)
    roster.lose(key, NOW_MS, 0)
    entered(roster, "phone", grace_ms=100)
    roster.lose(key, NOW_MS, 50)
    assert roster.next_deadline_ms() == 150
    roster.lapse(NOW_MS, 149)
    assert roster.counts == (0, 1)
    roster.lapse(NOW_MS, 150)
    assert roster.changes[key].reason == "timed_out" and len(roster) == 0


def test_without_grace_who_is_lost_has_left() -> None:
    roster = Roster()
    [key] = entered(roster, "phone", grace_ms=0)
    roster.lose(key, NOW_MS, 0)
    assert (roster.changes[key].status, roster.changes[key].reason) == (LEFT, "timed_out")


def test_when_all_leave_it_is_empty() -> None:
    roster = Roster()
    entered(roster, "a", "b", "c")
    roster.lose((b"b", 1), NOW_MS, 0)
    roster.clear("deleted", NOW_MS)
    assert {member.reason for member in roster.take_changes()} == {"deleted"}
    assert (roster.counts, roster.next_deadline_ms(), roster.page(None, 10, ALL).members) == ((0, 0), None, [])


def test_what_came_back_leaves_no_deadlines_behind() -> None:
    roster = Roster()
    [key] = entered(roster, "phone")
    for tick_ms in range(20_000):
        roster.lose(key, NOW_MS, tick_ms)
        entered(roster, "phone")
    assert len(roster._deadlines) < 3_000
    assert roster.next_deadline_ms() is None


def test_pages_are_in_byte_order_and_end_behind_the_last() -> None:
    roster = Roster()
    entered(roster, "b", "ä", "a", "🦊", "B")
    page = roster.page(None, 2, ALL)
    assert (names(page.members), page.more) == (["B", "a"], True)
    page = roster.page(page.members[-1].key, 3, ALL)
    assert (names(page.members), page.more) == (["b", "ä", "🦊"], False)
    assert names(roster.page((b"a", 0), 1, ALL).members) == ["a"]
    assert names(roster.page((b"aa", 7), 1, ALL).members) == ["b"]


def test_a_page_holds_so_many_bytes_and_at_least_one_member() -> None:
    roster = Roster()
    entered(roster, "a", "b", "c")
    assert names(roster.page(None, 10, 100).members) == ["a", "b"]
    page = roster.page(None, 10, 1)
    assert (names(page.members), page.more) == (["a"], True)


def test_no_row_is_larger_than_it_is_taken_for() -> None:
    key = (b"x" * CLIENT_ID_BYTES_MAX, 2**64 - 1)
    member = Member(key, LEFT, 2, bytes(MEMBER_DATA_BYTES_MAX), 2**48, 60_000, "timed_out")
    assert len(msgpack.packb(member.row())) <= member.row_bytes


def test_a_channel_has_so_many_members_and_those_go_on() -> None:
    roster = Roster()
    for number in range(MEMBERS_MAX):
        roster.enter((b"a", number), 0, b"", 0, NOW_MS)
    with pytest.raises(ProtocolError) as raised:
        roster.enter((b"b", 0), 0, b"", 0, NOW_MS)
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    assert raised.value.detail == {"limit": "members", "value": MEMBERS_MAX}
    roster.enter((b"a", 7), 0, b"new", 0, NOW_MS)
    roster.leave((b"a", 8), "left", NOW_MS)
    roster.enter((b"b", 0), 0, b"", 0, NOW_MS)
    assert roster.counts == (MEMBERS_MAX, 0)
