from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_protocol.heartbeat import (
    HEARTBEAT_MS_DEFAULT,
    HEARTBEAT_MS_MAX,
    HEARTBEAT_MS_MIN,
    Beat,
    beat,
    heartbeat_ms_agreed,
)

from tests.support.bounds import bounded


@pytest.mark.parametrize(
    ("asked_ms", "agreed_ms"),
    [(0, 1_000), (999, 1_000), (1_000, 1_000), (15_000, 15_000), (60_000, 60_000), (60_001, 60_000)],
)
def test_the_interval_is_what_was_asked_within_bounds(asked_ms: int, agreed_ms: int) -> None:
    assert heartbeat_ms_agreed(asked_ms) == agreed_ms


def test_the_default_is_one_of_the_intervals_that_can_be_agreed() -> None:
    assert heartbeat_ms_agreed(HEARTBEAT_MS_DEFAULT) == HEARTBEAT_MS_DEFAULT
    assert HEARTBEAT_MS_MIN < HEARTBEAT_MS_DEFAULT < HEARTBEAT_MS_MAX


@pytest.mark.parametrize(
    ("silent_ms", "unheard_ms", "expected"),
    [
        (0, 0, Beat.REST),
        (999, 2_499, Beat.REST),
        (1_000, 0, Beat.PING),
        (1_000, 2_499, Beat.PING),
        (0, 2_500, Beat.DEAD),
        (9_000, 9_000, Beat.DEAD),
    ],
)
def test_ping_after_one_interval_dead_after_two_and_a_half(silent_ms: int, unheard_ms: int, expected: Beat) -> None:
    now_ms = 1_000_000
    assert beat(now_ms, now_ms - silent_ms, now_ms - unheard_ms, 1_000) is expected


@bounded(100)
@given(st.integers(HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX))
def test_a_peer_that_pings_on_time_is_never_dead(heartbeat_ms: int) -> None:
    """Its ping may be late by one whole interval."""
    assert beat(heartbeat_ms * 2, heartbeat_ms * 2, 0, heartbeat_ms) is Beat.REST
