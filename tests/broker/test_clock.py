from __future__ import annotations

import time

import pytest
from outlast_broker import clock


def test_now_is_unix_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now_ms = clock.now_ms()
    assert before <= now_ms <= time.time_ns() // 1_000_000


def test_steady_time_goes_on_when_the_wall_clock_jumps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clock.steady_ms()
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000)
    assert clock.now_ms() == 5
    assert clock.steady_ms() >= before
