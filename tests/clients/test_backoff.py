"""How long reconnecting waits: a pure rule, given the dice."""

from __future__ import annotations

import random

import pytest
from outlast.backoff import Pace, attempt_after, bound_ms, delay_ms

PACE = Pace(base_ms=100, cap_ms=10_000)


@pytest.mark.parametrize(
    ("attempt", "bound"), [(0, 100), (1, 200), (6, 6_400), (7, 10_000), (50, 10_000), (10**9, 10_000)]
)
def test_the_bound_doubles_up_to_the_cap(attempt: int, bound: int) -> None:
    assert bound_ms(attempt, PACE) == bound


def test_delays_are_spread_over_all_of_the_bound() -> None:
    dice = random.Random(6180)
    for attempt in range(12):
        delays = [delay_ms(attempt, PACE, dice.random()) for _ in range(400)]
        bound = bound_ms(attempt, PACE)
        assert 0 <= min(delays) < bound * 0.05
        assert bound * 0.95 < max(delays) < bound
        assert bound * 0.4 < sum(delays) / len(delays) < bound * 0.6


def test_never_earlier_than_asked() -> None:
    dice = random.Random(6180)
    delays = [delay_ms(3, PACE, dice.random(), asked_ms=2_000) for _ in range(100)]
    assert min(delays) >= 2_000
    assert max(delays) < 2_800
    assert delay_ms(0, PACE, 0.0, asked_ms=-5_000) == 0


def test_attempts_count_anew_after_a_connection_that_outlived_its_bound() -> None:
    assert attempt_after(5, 3_200, PACE) == 0
    assert attempt_after(5, 3_199, PACE) == 5
    assert attempt_after(0, 0, PACE) == 0


def test_a_broker_that_drops_at_once_is_left_in_peace() -> None:
    attempt, waited = 0, 0.0
    for _ in range(20):
        attempt = attempt_after(attempt, lived_ms=1, pace=PACE)
        waited += delay_ms(attempt, PACE, 0.5)
        attempt += 1
    assert waited > 60_000
