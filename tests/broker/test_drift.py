from __future__ import annotations

from outlast_broker.drift import JUMP_MS, Drift


def test_a_clock_that_keeps_up_does_not_jump() -> None:
    drift = Drift(1_000_000, 5)
    assert [drift.jumped_ms(1_000_000 + at, 5 + at) for at in (0, 1_000, 90_000)] == [0, 0, 0]


def test_a_jump_is_said_once_forwards_and_back() -> None:
    drift = Drift(0, 0)
    assert drift.jumped_ms(3_601_000, 1_000) == 3_600_000
    assert drift.jumped_ms(3_602_000, 2_000) == 0
    assert drift.jumped_ms(3_000, 3_000) == -3_600_000


def test_what_is_adjusted_little_by_little_is_no_jump() -> None:
    drift = Drift(0, 0)
    assert not any(drift.jumped_ms(at * (1_000 + JUMP_MS - 1), at * 1_000) for at in range(1, 100))
