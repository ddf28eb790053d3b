"""Where reading starts: one meaning for every combination of arguments, or an error that says which."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from outlast.starts import EARLIEST, Start, behind, choose, read_where
from outlast_protocol import Position

EPOCH = 0x00C0FFEE00C0FFEE


def start(**given: Any) -> Start:
    arguments: dict[str, Any] = {"after": None, "start": None, "last": None, "since": None, **given}
    return choose(**arguments, default="latest")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Start(start="latest")),
        ({"start": "earliest"}, EARLIEST),
        ({"after": 0}, Start(after=0)),
        ({"after": 7}, Start(after=7)),
        ({"after": Position(EPOCH, 7)}, Start(after=7, epoch=EPOCH)),
        ({"after": "00c0ffee00c0ffee:7"}, Start(after=7, epoch=EPOCH)),
        ({"last": 0}, Start(last=0)),
        ({"last": 20}, Start(last=20)),
        ({"since": 1_700_000_000_000}, Start(since_ms=1_700_000_000_000)),
        ({"since": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}, Start(since_ms=1_700_000_000_000)),
        ({"since": datetime(1960, 1, 1, tzinfo=UTC)}, Start(since_ms=0)),
    ],
)
def test_one_start(given: dict[str, Any], expected: Start) -> None:
    assert start(**given) == expected


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"after": 1, "last": 2}, ValueError, "after and last were given together"),
        ({"start": "earliest", "since": 5}, ValueError, "start and since were given together"),
        ({"start": "beginning"}, ValueError, '"earliest" or "latest"'),
        ({"after": -1}, ValueError, "after is -1, expected 0 to"),
        ({"after": 2**63}, ValueError, "expected 0 to 9223372036854775807"),
        ({"after": True}, TypeError, "bool, expected a whole number"),
        ({"after": 1.5}, TypeError, "an offset, a Position or its text"),
        ({"after": "42"}, ValueError, "expected EPOCH:OFFSET"),
        ({"after": Position(-1, 3)}, ValueError, "the epoch of after"),
        ({"after": Position(1, -3)}, ValueError, "the offset of after"),
        ({"last": -1}, ValueError, "last is -1"),
        ({"last": "3"}, TypeError, "last is str"),
        ({"since": datetime(2026, 1, 1)}, ValueError, "without a time zone"),
        ({"since": "yesterday"}, TypeError, "Unix time in ms"),
    ],
)
def test_what_cannot_be_meant(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        start(**given)


def test_a_place_without_an_epoch_leaves_it_open() -> None:
    assert read_where("before", 5) == (5, None)
    assert read_where("before", "00c0ffee00c0ffee:5") == (5, EPOCH)


def test_behind_a_position() -> None:
    assert behind(Position(EPOCH, 5)) == Start(after=5, epoch=EPOCH)
