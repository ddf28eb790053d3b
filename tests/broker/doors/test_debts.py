from __future__ import annotations

from outlast_broker.doors.debts import SHORT_BYTES, STALLED_MS, Debts

MIB = 1 << 20


def debts(bytes_max: int = 10 * MIB) -> Debts[str]:
    return Debts(bytes_max, MIB)


def test_what_is_owed_is_what_was_said_last() -> None:
    each = debts()
    each.owe("a", 5, 0)
    each.owe("a", 7, 0)
    each.owe("b", 1, 0)
    assert each.total == 8
    each.settled("a")
    each.settled("c")
    assert each.total == 1


def test_beyond_half_of_it_one_connection_may_have_less_waiting() -> None:
    each = debts()
    each.owe("a", 5 * MIB, 0)
    assert each.connection_bytes_max == MIB
    each.owe("b", 1, 0)
    assert each.connection_bytes_max == SHORT_BYTES and not each.is_over
    each.settled("a")
    assert each.connection_bytes_max == MIB


def test_beyond_all_of_it_those_with_most_have_to_go_until_a_quarter_is_free() -> None:
    each = debts()
    for at in range(1, 6):
        each.owe(str(at), at * MIB, 0)
    assert each.is_over and each.biggest(STALLED_MS) == ["5", "4"]


def test_debts_that_are_counted_elsewhere_count() -> None:
    each = debts()
    each.owe("a", MIB, 0)
    each.others = 10 * MIB
    assert each.is_over and each.over_bytes == 11 * MIB - 10 * MIB * 3 // 4


def test_without_a_bound_nobody_has_to_go() -> None:
    each = debts(0)
    each.owe("a", 1 << 40, 0)
    assert not each.is_over and each.connection_bytes_max == MIB


def test_one_who_still_takes_something_may_stay() -> None:
    each = debts(MIB)
    each.owe("slow", 3 * MIB, 0)
    each.owe("stalled", 2 * MIB, 0)
    assert each.biggest(STALLED_MS - 1) == []
    each.owe("slow", 3 * MIB - 1, STALLED_MS)
    each.owe("stalled", 2 * MIB, STALLED_MS)
    assert each.biggest(STALLED_MS) == ["stalled"] and list(each) == ["slow", "stalled"]


def test_the_bounds_may_change() -> None:
    each = debts()
    each.owe("a", 5 * MIB, 0)
    each.bound(4 * MIB, 1_000)
    assert each.is_over and each.connection_bytes_max == 1_000
    each.bound(0, 2_000)
    assert not each.is_over and each.connection_bytes_max == 2_000
