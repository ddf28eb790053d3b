"""Arguments that cannot be right are refused before any I/O, and the message says what is."""

from __future__ import annotations

from typing import Any

import outlast
import pytest
from outlast.options import check_channel_name, check_name, check_whole, ttl_ms_from


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"url": "nonsense"}, ValueError, "allowed are outlast://"),
        ({"client_id": ""}, ValueError, "0 bytes of UTF-8, expected 1 to 128"),
        ({"client_id": "ü" * 65}, ValueError, "130 bytes of UTF-8, expected 1 to 128"),
        ({"client_id": 5}, TypeError, "client_id is int"),
        ({"client_id": "\ud800"}, ValueError, "lone surrogate"),
        ({"timeout": 0}, ValueError, "timeout is 0 s"),
        ({"close_timeout": -1}, ValueError, "close_timeout is -1 s"),
        ({"buffer_bytes": 0}, ValueError, "buffer_bytes is 0, expected 1 or more"),
        ({"buffer_bytes": 1.5}, TypeError, "buffer_bytes is float"),
        ({"when_full": "drop"}, ValueError, 'expected "wait" or "raise"'),
        ({"heartbeat_ms": 0}, ValueError, "heartbeat_ms is 0"),
        ({"producer": (1,)}, ValueError, "producer is"),
        ({"producer": (1, -1)}, ValueError, "each part of producer is -1"),
        ({"producer": (2**64, 0)}, ValueError, "expected 0 to 18446744073709551615"),
        ({"backoff_base_ms": 0}, ValueError, "backoff_base_ms is 0"),
        ({"backoff_base_ms": 50, "backoff_cap_ms": 40}, ValueError, "backoff_cap_ms is 40, expected 50 or more"),
    ],
)
def test_connect(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        outlast.connect(**options)


@pytest.mark.parametrize("name", ["c", "session:42", "grün/ß", "x" * 255, " ", "ü" * 127])
def test_channel_names(name: str) -> None:
    assert check_channel_name(name) == name


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("", ValueError, "0 bytes, expected 1 to 255"),
        ("x" * 256, ValueError, "256 bytes"),
        ("ü" * 128, ValueError, "256 bytes"),
        ("a\nb", ValueError, "control character"),
        ("a\x7f", ValueError, "control character"),
        ("\x00", ValueError, "control character"),
        ("\ud800", ValueError, "lone surrogate"),
        (b"c", TypeError, "not bytes"),
    ],
)
def test_names_that_no_channel_has(name: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check_channel_name(name)


def test_whole_numbers() -> None:
    assert check_whole("n", 3, 0, 3) == 3
    with pytest.raises(ValueError, match="n is 4, expected 0 to 3"):
        check_whole("n", 4, 0, 3)
    with pytest.raises(TypeError, match="n is bool"):
        check_whole("n", True, 0)


@pytest.mark.parametrize(("ttl", "ms"), [(None, 0), (1, 1000), (0.5, 500), (0.0001, 1), (3600, 3_600_000)])
def test_ttl(ttl: float | None, ms: int) -> None:
    assert ttl_ms_from(ttl) == ms


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), 2**53])
def test_ttl_out_of_bounds(ttl: float) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        ttl_ms_from(ttl)


@pytest.mark.parametrize("ttl", ["1", True])
def test_ttl_of_another_kind(ttl: Any) -> None:
    with pytest.raises(TypeError, match="expected seconds"):
        ttl_ms_from(ttl)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("", ValueError, "a lease's name has 1 to 8 bytes of UTF-8, not 0"),
        ("ü" * 5, ValueError, "not 10"),
        ("a\x7f", ValueError, "no control characters"),
        ("\ud800", ValueError, "lone surrogate"),
        (b"writer", TypeError, "a lease's name is text, not bytes"),
    ],
)
def test_names(name: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check_name("a lease's name", name, 8)
    assert check_name("a lease's name", "üüüü", 8) == "üüüü"
