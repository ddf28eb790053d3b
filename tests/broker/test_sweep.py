from __future__ import annotations

import pytest
from outlast_broker.sweep import PAUSE_FACTOR, Perishing, Sweep, sooner

NONE = Perishing()


@pytest.mark.parametrize(("one", "other", "expected"), [(0, 0, 0), (5, 0, 5), (0, 5, 5), (5, 7, 5), (7, 5, 5)])
def test_no_time_is_not_the_sooner_one(one: int, other: int, expected: int) -> None:
    assert sooner(one, other) == expected


def test_what_lies_behind_has_its_place_and_its_time() -> None:
    assert NONE.and_then(Perishing(7, 100)) == Perishing(7, 100)
    assert Perishing(3, 200).and_then(Perishing(7, 100)) == Perishing(3, 100)
    assert Perishing(3, 200).and_then(NONE) == Perishing(3, 200)


def test_nothing_is_looked_for_before_the_first_is_over() -> None:
    sweep = Sweep(0)
    sweep.expect(5, 6, 1_000)
    sweep.expect(9, 9, 400)
    assert sweep.first == 5
    assert not sweep.is_due(10, 399) and sweep.next_ms == 400
    assert sweep.is_due(10, 400)


def test_nothing_is_looked_for_in_chunks_while_it_lies_in_the_journal() -> None:
    sweep = Sweep(0)
    sweep.expect(5, 5, 100)
    assert not sweep.is_due(4, 200)
    assert sweep.is_due(5, 200)


def test_of_what_a_store_holds_nothing_is_known_but_where_it_begins() -> None:
    sweep = Sweep(3)
    sweep.expect(50, 50, 10**9)
    assert sweep.is_due(10, 1_000)
    assert sweep.begin(1, 10, 1_000) == 3
    assert Sweep(3).begin(7, 10, 1_000) == 7, "retention was there first"


def test_a_round_goes_piece_by_piece_and_remembers_what_it_left() -> None:
    sweep = Sweep(1)
    assert sweep.begin(1, 30, 1_000) == 1
    assert not sweep.went(10, Perishing(4, 9_000), 30, 1_000, 60)
    assert sweep.is_due(30, 1_000), "it has begun"
    assert sweep.begin(1, 30, 1_001) == 11
    assert not sweep.went(20, Perishing(15, 5_000), 30, 1_001, 60)
    assert sweep.begin(1, 30, 1_002) == 21
    assert sweep.went(30, NONE, 30, 1_002, 60)
    assert sweep.first == 4
    assert not sweep.is_due(30, 4_999)
    assert sweep.is_due(30, 5_000)


def test_when_nothing_is_left_there_is_nothing_to_look_for() -> None:
    sweep = Sweep(0)
    sweep.expect(5, 5, 100)
    sweep.begin(1, 9, 200)
    assert sweep.went(9, NONE, 9, 200, 60)
    assert sweep.first == 0


def test_what_came_behind_the_round_is_left() -> None:
    sweep = Sweep(0)
    sweep.expect(5, 12, 100)
    sweep.begin(1, 9, 200)
    assert sweep.went(9, NONE, 9, 200, 60)
    assert sweep.first == 10, "12 may lie in the journal"


def test_what_came_meanwhile_is_left_and_its_time_is_known() -> None:
    sweep = Sweep(0)
    sweep.expect(5, 5, 100)
    sweep.begin(1, 9, 200)
    sweep.expect(11, 11, 700)
    sweep.went(9, NONE, 9, 200, 60)
    assert sweep.first == 10
    assert not sweep.is_due(11, 699) and sweep.is_due(11, 700)


def test_a_long_round_is_followed_by_a_long_pause() -> None:
    sweep = Sweep(1)
    sweep.begin(1, 20, 1_000)
    sweep.went(10, Perishing(1, 1_500), 20, 1_200, 60)
    sweep.begin(1, 20, 2_000)
    sweep.went(20, NONE, 20, 2_000, 60)
    assert not sweep.is_due(20, 2_000 + PAUSE_FACTOR * 1_000 - 1)
    assert sweep.is_due(20, 2_000 + PAUSE_FACTOR * 1_000)


def test_a_short_round_waits_for_the_pause_that_is_asked_for() -> None:
    sweep = Sweep(1)
    sweep.begin(1, 20, 1_000)
    sweep.went(20, Perishing(1, 1_001), 20, 1_000, 60)
    assert not sweep.is_due(20, 1_059) and sweep.is_due(20, 1_060)


def test_turns_are_taken() -> None:
    sweep = Sweep(1)
    assert not sweep.had_turn
    sweep.begin(1, 20, 1_000)
    assert sweep.had_turn
