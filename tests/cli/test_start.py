from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from outlast_cli.start import Start, chosen_start, parse_offset_or_position, parse_start

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "origin", "expected"),
    [
        (None, None, Start()),
        ("42", None, Start(after=42)),
        ("00c0ffee00c0ffee:42", None, Start(after="00c0ffee00c0ffee:42")),
        (None, "earliest", Start(start="earliest")),
        (None, "latest", Start(start="latest")),
        (None, "last:10", Start(last=10)),
        (None, "10m", Start(since=NOW - timedelta(minutes=10))),
        (None, "1h30m ago", Start(since=NOW - timedelta(minutes=90))),
        (None, "2026-01-30T08:00:00Z", Start(since=datetime(2026, 1, 30, 8, tzinfo=UTC))),
        (None, "2026-01-30T08:00:00+02:00", Start(since=datetime(2026, 1, 30, 6, tzinfo=UTC))),
        (None, "2026-01-30", Start(since=datetime(2026, 1, 30).astimezone(UTC))),
    ],
)
def test_where_reading_starts(after: str | None, origin: str | None, expected: Start) -> None:
    assert parse_start(after, origin, NOW) == expected


@pytest.mark.parametrize("origin", ["", "yesterday", "10", "2026-13-01", "last", "999999999w ago"])
def test_what_is_not_understood_says_what_is_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match="allowed are earliest, latest, last:N"):
        parse_start(None, origin, NOW)


def test_other_mistakes() -> None:
    with pytest.raises(ValueError, match="needs a number"):
        parse_start(None, "last:x", NOW)
    with pytest.raises(ValueError, match="give one of them"):
        parse_start("1", "latest", NOW)
    with pytest.raises(ValueError, match="neither an offset"):
        parse_offset_or_position("c0ffee:1")
    with pytest.raises(click.UsageError, match="neither an offset"):
        chosen_start("-1", None)
