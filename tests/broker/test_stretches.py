from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker.stretches import OFFSETS_MIN, STRETCHES_MAX, Stretch, Stretches

from tests.support.bounds import bounded

LONG = OFFSETS_MIN


def known(*each: tuple[int, int]) -> Stretches:
    found = Stretches()
    for first, last in each:
        found.extend(first, last, 10 * last)
    return found


def ranges(found: Stretches, first: int = 1) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in found.kept_from(first)]


def test_batches_side_by_side_are_one_stretch() -> None:
    found = known(*[(at, at) for at in range(1, LONG + 1)])
    assert found.kept_from(1) == (Stretch(1, LONG, 10 * LONG),)


def test_something_else_in_between_parts_them() -> None:
    assert ranges(known((1, LONG), (LONG + 2, 3 * LONG))) == [(1, LONG), (LONG + 2, 3 * LONG)]


def test_a_short_one_is_not_worth_remembering() -> None:
    found = known((1, LONG - 1), (LONG + 1, 2 * LONG - 1), (3 * LONG, 5 * LONG))
    assert ranges(found) == [(3 * LONG, 5 * LONG)]


def test_the_last_one_may_still_become_long() -> None:
    found = known((1, LONG - 1))
    assert ranges(found) == []
    found.extend(LONG, LONG, 7)
    assert ranges(found) == [(1, LONG)]


def test_no_more_than_so_many_are_remembered() -> None:
    found = known(*[(at * 2 * LONG + 1, at * 2 * LONG + LONG) for at in range(STRETCHES_MAX + 5)])
    kept = found.kept_from(1)
    assert len(kept) == STRETCHES_MAX and kept[0].first == 5 * 2 * LONG + 1


def test_what_retention_has_passed_is_cut_off() -> None:
    found = known((1, 2 * LONG))
    assert ranges(found, LONG + 1) == [(LONG + 1, 2 * LONG)]
    assert ranges(found, LONG + 2) == [] == ranges(found, 5 * LONG)


def test_behind_a_message_that_is_met_it_goes_on() -> None:
    found = known((1, 4 * LONG))
    found.put_down(2 * LONG)
    assert found.kept_from(1) == (Stretch(2 * LONG + 1, 4 * LONG, 40 * LONG),)


@pytest.mark.parametrize("offset", [LONG + 1, 4 * LONG, 5 * LONG])
def test_putting_down_what_is_in_none_or_at_the_end_leaves_no_empty_one(offset: int) -> None:
    found = known((1, LONG), (LONG + 2, 4 * LONG))
    found.put_down(offset)
    expected = [(1, LONG)] if offset == 4 * LONG else [(1, LONG), (LONG + 2, 4 * LONG)]
    assert ranges(found) == expected


def test_what_lost_its_beginning_lies_in_none() -> None:
    found = known((1, LONG), (LONG + 2, 4 * LONG), (5 * LONG, 7 * LONG))
    found.forget(LONG, 2 * LONG)
    assert ranges(found) == [(2 * LONG + 1, 4 * LONG), (5 * LONG, 7 * LONG)]
    found.forget(1, 9 * LONG)
    assert ranges(found) == []


steps = st.lists(st.tuples(st.sampled_from(["grow", "skip", "put", "forget"]), st.integers(1, 9)), max_size=40)


@bounded(100)
@given(steps=steps)
def test_no_stretch_holds_what_is_to_be_met(steps: list[tuple[str, int]]) -> None:
    """Whatever happens, they are in order, apart, and hold nothing but what only grows messages."""
    found, last, met = Stretches(), 0, set[int]()
    for what, size in steps:
        if what in ("grow", "skip"):
            if what == "grow":
                found.extend(last + 1, last + size, last)
            else:
                met |= set(range(last + 1, last + size + 1))
            last += size
        elif what == "put" and last:
            found.put_down(max(last - size, 1))
            met.add(max(last - size, 1))
        elif last:
            found.forget(max(last - 2 * size, 1), max(last - size, 1))
            met |= set(range(max(last - 2 * size, 1), max(last - size, 1) + 1))
    held = [offset for each in found._all for offset in range(each.first, each.last + 1)]
    assert held == sorted(set(held)) and not met & set(held)
    assert all(each.first <= each.last <= last for each in found._all)
