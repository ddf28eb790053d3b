from __future__ import annotations

from outlast_broker.care.finding import Finding, Level, error, note, ok, warning


def test_levels_are_in_order_and_only_errors_have_a_code() -> None:
    assert sorted(Level) == [Level.OK, Level.NOTE, Level.WARNING, Level.ERROR]
    assert ok("a", "b") == Finding(Level.OK, "a", "b")
    assert [each("a", "b", "c", "d").level for each in (note, warning)] == [Level.NOTE, Level.WARNING]
    assert error("a", "b", "c", "d", 65) == Finding(Level.ERROR, "a", "b", "c", "d", 65)
