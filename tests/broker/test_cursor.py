from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker.cursor import Cursors, Standing, Waiter
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CURSORS_MAX

from tests.support.bounds import bounded


class Told:
    """A waiter, and what it was told."""

    def __init__(self, cursor: str, offset: int) -> None:
        self.offsets: list[int] = []
        self.errors: list[ProtocolError] = []
        self.waiter = Waiter(cursor, offset, self.offsets.append, self.errors.append)


@bounded(100)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20))))
def test_a_cursor_never_goes_back(acks: list[tuple[str, int]]) -> None:
    cursors = Cursors({})
    for now_ms, (name, offset) in enumerate(acks):
        before = cursors.get(name)
        standing = cursors.advance(name, offset, now_ms)
        moved = before is None or offset > before.offset
        assert standing == (Standing(offset, now_ms) if moved else None)
        assert cursors.get(name) == (standing or before)
    assert {name: cursors.offset(name) for name, _ in acks} == {
        name: max(offset for each, offset in acks if each == name) for name, _ in acks
    }


def test_one_that_does_not_exist_has_acknowledged_nothing() -> None:
    assert Cursors({}).offset("phone") == 0
    assert Cursors({}).get("phone") is None


def test_a_channel_holds_so_many_and_those_go_on() -> None:
    cursors = Cursors({str(index): Standing(1, 1) for index in range(CURSORS_MAX)})
    with pytest.raises(ProtocolError) as raised:
        cursors.advance("one more", 1, 2)
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    assert raised.value.detail == {"limit": "cursors", "value": CURSORS_MAX}
    assert len(cursors) == CURSORS_MAX
    assert cursors.advance("7", 2, 2) == Standing(2, 2)
    cursors.forget("8")
    assert cursors.advance("one more", 1, 3) == Standing(1, 3)


def test_what_is_forgotten_starts_anew() -> None:
    cursors = Cursors({"phone": Standing(5, 1)})
    assert cursors.forget("phone") == Standing(5, 1)
    assert cursors.advance("phone", 2, 3) == Standing(2, 3)


def test_the_unknown_cannot_be_forgotten() -> None:
    with pytest.raises(ProtocolError) as raised:
        Cursors({}).forget("phone")
    assert raised.value.code is ErrorCode.UNKNOWN_CURSOR


def test_rows_come_in_byte_order_behind_a_name() -> None:
    names = ["b", "a", "ä", "🦊", "日本", "B"]
    cursors = Cursors({name: Standing(1, 1) for name in names})
    ordered = sorted(names, key=str.encode)
    assert [name for name, _ in cursors.rows(None)] == ordered
    assert [name for name, _ in cursors.rows("b")] == ordered[ordered.index("b") + 1 :]
    assert [name for name, _ in cursors.rows("between")] == ordered[ordered.index("b") + 1 :]


# --- waiting ----------------------------------------------------------------------------------------------


def test_those_whose_offset_is_reached_are_counted_no_longer() -> None:
    cursors = Cursors({})
    near, far, other = Told("phone", 3), Told("phone", 4), Told("tab", 1)
    for told in (near, far, other):
        cursors.wait(told.waiter)
    cursors.advance("phone", 3, 1)
    assert cursors.reached("phone") == [near.waiter]
    assert cursors.reached("phone") == []
    assert cursors.waiters() == [far.waiter, other.waiter]


def test_a_waiter_is_told_once() -> None:
    told = Told("phone", 3)
    told.waiter.reach(3)
    told.waiter.reach(4)
    told.waiter.miss(ProtocolError(ErrorCode.UNKNOWN_CHANNEL, "gone"))
    assert told.offsets == [3] and told.errors == []


def test_a_waiter_that_left_is_told_nothing_and_not_counted() -> None:
    cursors, told = Cursors({}), Told("phone", 3)
    ended: list[bool] = []
    told.waiter.when_over(lambda: ended.append(True))
    cursors.wait(told.waiter)
    assert told.waiter.leave() and not told.waiter.leave()
    told.waiter.reach(3)
    assert (told.offsets, told.errors, ended, cursors.waiters()) == ([], [], [True], [])


def test_dropping_says_whether_it_was_counted() -> None:
    cursors, told = Cursors({}), Told("phone", 3)
    cursors.wait(told.waiter)
    assert cursors.drop(told.waiter)
    assert not cursors.drop(told.waiter)
