"""The only one who asks what time it is; everyone else is given `now_ms`."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Unix time in milliseconds. May jump: offsets order records, times only describe them."""
    return time.time_ns() // 1_000_000


def steady_us() -> int:
    """As `steady_ms`, finer: for what is measured."""
    return time.monotonic_ns() // 1_000


def steady_ms() -> int:
    """Milliseconds that never run backwards, for intervals and timeouts."""
    return time.monotonic_ns() // 1_000_000
