from __future__ import annotations

from hypothesis import given, strategies as st
from outlast_broker.doors.bucket import Bucket, Meter, Rates

from tests.support.bounds import bounded


def test_a_seconds_worth_may_come_at_once() -> None:
    bucket = Bucket(10, 0)
    assert [bucket.take(1, 0) for _ in range(10)] == [0] * 10
    assert bucket.take(1, 0) == 101, "the eleventh is paid for in a tenth of a second"
    assert bucket.wait_ms(50) == 51 and bucket.wait_ms(101) == 0
    assert not bucket.is_full(1_000) and bucket.is_full(1_100)


def test_what_is_too_much_is_taken_and_owed() -> None:
    bucket = Bucket(1_000, 0)
    assert bucket.take(11_000, 0) == 10_001
    assert bucket.take(0, 10_001) == 0


def test_time_that_stands_still_gives_nothing() -> None:
    bucket = Bucket(1, 5)
    bucket.take(1, 5)
    assert bucket.take(1, 5) == 1_001


@bounded(100)
@given(st.integers(1, 10_000), st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 5_000)), min_size=1))
def test_one_who_waits_as_told_gets_the_rate_and_a_second_more(per_s: int, steps: list[tuple[int, int]]) -> None:
    bucket, now_ms, taken = Bucket(per_s, 0), 0, 0
    for pause_ms, amount in steps:
        now_ms += pause_ms
        wait_ms = bucket.take(amount, now_ms)
        assert bucket.wait_ms(now_ms + wait_ms) == 0
        now_ms += wait_ms
        taken += amount
    assert taken <= per_s * (now_ms / 1000 + 1) + 1


def test_a_meter_is_as_slow_as_its_slowest_bucket() -> None:
    meter = Meter(Rates(frames=10, bytes=0, publishes=1), 0)
    assert meter.take(Rates(1, 10**9, 0), 0) == 0
    assert meter.take(Rates(10, 0, 2), 0) == 1_001
    assert meter.wait_ms(0) == 1_001 and not meter.is_full(0) and meter.is_full(2_100)


def test_a_meter_of_nothing_never_waits() -> None:
    assert Meter(Rates(), 0).take(Rates(10**6, 10**9, 10**6), 0) == 0
