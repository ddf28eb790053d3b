"""How long to wait before the next attempt: full jitter over a doubling bound (PROTOCOL.md 11.4).

Attempts count from 0. `roll` is a random number in [0, 1) that the caller draws.
"""

from __future__ import annotations

from typing import NamedTuple

BASE_MS_DEFAULT = 100
CAP_MS_DEFAULT = 10_000


class Pace(NamedTuple):
    """The bound of the first attempt, and the one that no attempt exceeds."""

    base_ms: int = BASE_MS_DEFAULT
    cap_ms: int = CAP_MS_DEFAULT


def bound_ms(attempt: int, pace: Pace) -> int:
    """The longest that `attempt` may wait."""
    return min(pace.cap_ms, pace.base_ms << min(attempt, 32))


def delay_ms(attempt: int, pace: Pace, roll: float, asked_ms: float = 0) -> float:
    """Anything from nothing to the bound, after what the broker asked (GOAWAY, retry_after_ms)."""
    return max(asked_ms, 0) + roll * bound_ms(attempt, pace)


def attempt_after(attempt: int, lived_ms: float, pace: Pace) -> int:
    """Counts from 0 again once a connection has outlived the bound of `attempt`.

    A broker that accepts and drops at once is so left in peace, and a network that cuts every few
    seconds does not make the waits grow.
    """
    return 0 if lived_ms >= bound_ms(attempt, pace) else attempt
