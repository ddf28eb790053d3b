from __future__ import annotations

from outlast_broker.counters import Counters


def test_counting_starts_at_zero() -> None:
    counts = Counters().as_dict()
    assert counts and set(counts.values()) == {0}


def test_what_is_added_can_be_read_by_name() -> None:
    counters = Counters()
    counters.commits += 2
    counters.bytes_in += 30
    assert {name: count for name, count in counters.as_dict().items() if count} == {"commits": 2, "bytes_in": 30}


def test_a_count_that_nobody_declared_cannot_be_added_to() -> None:
    assert not hasattr(Counters(), "__dict__")
