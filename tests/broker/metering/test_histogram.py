from __future__ import annotations

import random
from statistics import quantiles

import pytest
from outlast_broker.metering.histogram import MICROSECONDS, RECENT_SPANS, SPAN_MS, Histogram

BOUNDS = (10, 20, 40)


def test_what_is_observed_is_counted_at_the_first_bound_that_holds_it() -> None:
    histogram = Histogram(BOUNDS)
    for value in (0, 10, 11, 20, 40, 41, 1_000):
        histogram.observe(value)
    histogram.observe(15, 5)
    assert histogram.counts == [2, 7, 1, 2]
    assert histogram.total == 0 + 10 + 11 + 20 + 40 + 41 + 1_000 + 5 * 15


def test_many_at_once_are_as_one_after_the_other() -> None:
    one, other = Histogram(BOUNDS), Histogram(BOUNDS)
    one.observe_since(1_000, [995, 970, 0], [1, 4, 2])
    for value, times in ((5, 1), (30, 4), (1_000, 2)):
        other.observe(value, times)
    assert (one.counts, one.total) == (other.counts, other.total)


def test_of_nothing_nothing_is_said() -> None:
    assert Histogram(BOUNDS).recent(0.99) == 0


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_quantile_is_right_to_a_fifth(part: float) -> None:
    histogram, chance = Histogram(MICROSECONDS), random.Random(7)
    values = [round(chance.lognormvariate(8, 0.8)) for _ in range(20_000)]
    for value in values:
        histogram.observe(value)
    assert histogram.recent(part) == pytest.approx(quantiles(values, n=100)[round(part * 100) - 1], rel=0.2)


def test_beyond_the_last_bound_only_that_is_known() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(5_000, 3)
    assert histogram.recent(0.5) == 40


def test_what_is_long_ago_is_not_recent() -> None:
    histogram = Histogram(BOUNDS)
    histogram.tick(SPAN_MS)
    histogram.observe(5, 100)
    for span in range(2, RECENT_SPANS + 1):
        histogram.tick(span * SPAN_MS)
        histogram.tick(span * SPAN_MS + 1)
        assert 0 < histogram.recent(0.5) <= 10
    histogram.observe(30, 2)
    histogram.tick((RECENT_SPANS + 1) * SPAN_MS)
    assert 20 < histogram.recent(0.5) <= 40, "the hundred are gone"
    for span in range(RECENT_SPANS + 2, 2 * RECENT_SPANS + 2):
        histogram.tick(span * SPAN_MS)
    assert histogram.recent(0.5) == 0
    assert sum(histogram.counts) == 102, "for those who ask since the start"
