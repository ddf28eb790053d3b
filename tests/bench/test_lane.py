"""The load's bookkeeping: windows, marks and percentiles."""

from __future__ import annotations

import math
from array import array

from bench.lane import Feed, Lane, percentile_ms


def test_free_is_what_the_window_leaves() -> None:
    lane = Lane("lane", window=10)
    lane.send(7, 0.0)
    lane.ack(3, 0.0, array("d"))
    assert lane.free() == 6


def test_a_mark_is_noted_once_by_the_ack_and_once_by_every_reader() -> None:
    lane, acks, deliveries = Lane("lane", window=10, sample=4), array("d"), array("d")
    first, second = Feed(lane, deliveries), Feed(lane, deliveries)
    for moment in range(8):
        lane.send(1, float(moment))
    assert [mark[0] for mark in lane.marks] == [1, 5]
    lane.ack(5, 10.0, acks)
    first.deliver(4, 20.0)
    second.deliver(8, 30.0)
    assert list(acks) == [10.0, 6.0]
    assert list(deliveries) == [20.0, 30.0, 26.0]


def test_a_reader_that_starts_later_ignores_what_was_before() -> None:
    lane, latencies = Lane("lane", window=10, sample=1), array("d")
    lane.send(3, 0.0)
    late = Feed(lane, latencies, start=3)
    lane.send(1, 5.0)
    late.deliver(1, 6.0)
    assert late.delivered == 4
    assert list(latencies) == [1.0]


def test_percentiles_are_samples_in_milliseconds() -> None:
    latencies = array("d", [each / 1000 for each in range(1, 101)])
    assert percentile_ms(latencies, 0.5) == 50
    assert percentile_ms(latencies, 0.99) == 99
    assert percentile_ms(latencies, 1.0) == 100
    assert math.isnan(percentile_ms(array("d"), 0.5))
