from __future__ import annotations

import pytest
from outlast_broker.configuration.quantities import (
    exact_bytes,
    parse_bytes,
    parse_duration_ms,
    show_bytes,
    show_count,
    show_duration,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("64MiB", 64 << 20),
        ("1.5 KiB", 1536),
        ("2kB", 2000),
        ("3gb", 3 * 10**9),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "-1", "5zib", "MiB", "1e9", "1 2MiB", "٣MiB", "1" * 16])
def test_what_is_no_size_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a number with B, KiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0", 0),
        ("250ms", 250),
        ("10s", 10_000),
        ("1.5m", 90_000),
        ("7d", 604_800_000),
        ("1h30m", 5_400_000),
        ("1w", 604_800_000),
    ],
)
def test_durations(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "10", "-5s", "5 s", "5y", "s", "1h30"])
def test_what_is_no_duration_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are numbers with ms, s, m, h, d or w"):
        parse_duration_ms(text)


def test_a_duration_has_a_bound() -> None:
    with pytest.raises(ValueError, match="longer than"):
        parse_duration_ms("999999999999w")


@pytest.mark.parametrize("duration_ms", [0, 1, 999, 1_000, 90_000, 604_800_000, 86_400_000 + 61_001])
def test_shown_durations_can_be_read_again(duration_ms: int) -> None:
    assert parse_duration_ms(show_duration(duration_ms)) == duration_ms


def test_what_people_see() -> None:
    assert [show_bytes(size) for size in (0, 1023, 1536, 1 << 50)] == ["0 B", "1023 B", "1.5 KiB", "1024.0 TiB"]
    assert show_duration(90_500) == "1m30s500ms"
    assert [show_count(count, "record") for count in (0, 1, 1204)] == ["0 records", "1 record", "1,204 records"]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1, "1B"), (1536, "1536B"), (1 << 20, "1MiB"), (16 << 30, "16GiB")]
)
def test_exact_sizes(size: int, text: str) -> None:
    assert exact_bytes(size) == text
    assert parse_bytes(text) == size
