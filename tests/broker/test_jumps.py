from __future__ import annotations

from outlast_broker.jumps import HOLD_MS, JUMP_MS, Jumps

YEAR_MS = 365 * 86_400_000


def test_a_clock_that_is_adjusted_does_not_jump() -> None:
    jumps = Jumps(1_000, 0)
    assert jumps.present_ms(2_000 + JUMP_MS - 1, 1_000) == 2_000 + JUMP_MS - 1
    assert jumps.present_ms(3_000, 2_000) == 3_000
    assert jumps.noticed() == []


def test_after_a_jump_forward_the_present_is_held_back_for_a_while() -> None:
    jumps = Jumps(1_000, 0)
    assert jumps.present_ms(2_000 + YEAR_MS, 1_000) == 2_000
    assert jumps.noticed() == [YEAR_MS]
    assert jumps.noticed() == [], "it is told once"
    assert jumps.present_ms(1_000 + HOLD_MS + YEAR_MS, HOLD_MS) == 1_000 + HOLD_MS
    late_ms = 2_000 + HOLD_MS + YEAR_MS
    assert jumps.present_ms(late_ms, HOLD_MS + 1_000) == late_ms, "the clock is believed in the end"


def test_a_clock_that_is_set_right_again_is_believed_at_once() -> None:
    jumps = Jumps(1_000, 0)
    jumps.present_ms(2_000 + YEAR_MS, 1_000)
    assert jumps.present_ms(3_000, 2_000) == 3_000
    assert jumps.noticed() == [YEAR_MS, -YEAR_MS]


def test_a_jump_back_holds_nothing_back() -> None:
    jumps = Jumps(YEAR_MS, 0)
    assert jumps.present_ms(1_000, 1_000) == 1_000
    assert jumps.noticed() == [-YEAR_MS]
