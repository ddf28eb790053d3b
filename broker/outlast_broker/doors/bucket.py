"""A token bucket: so much a second on average, and a second's worth at once. Pure; times are steady."""

from __future__ import annotations

from typing import NamedTuple


class Bucket:
    """What is taken beyond what there is becomes a debt; who is in debt waits until it is paid."""

    __slots__ = ("_at_ms", "_level", "_per_s")

    def __init__(self, per_s: int, now_ms: int) -> None:
        self._per_s = per_s
        self._level = float(per_s)
        self._at_ms = now_ms

    def take(self, amount: int, now_ms: int) -> int:
        """Takes it in any case; returns for how many ms to take no more."""
        self._refill(now_ms)
        self._level -= amount
        return self._wait_ms()

    def wait_ms(self, now_ms: int) -> int:
        self._refill(now_ms)
        return self._wait_ms()

    def is_full(self, now_ms: int) -> bool:
        self._refill(now_ms)
        return self._level >= self._per_s

    def _refill(self, now_ms: int) -> None:
        gained = (now_ms - self._at_ms) * self._per_s / 1000
        self._level = min(self._level + gained, self._per_s)
        self._at_ms = now_ms

    def _wait_ms(self) -> int:
        return 0 if self._level >= 0 else int(-self._level * 1000 / self._per_s) + 1


class Rates(NamedTuple):
    """What may come in a second; 0: as much as there is."""

    frames: int = 0
    bytes: int = 0
    publishes: int = 0


class Meter:
    """The buckets of one connection, client or address."""

    __slots__ = ("_buckets",)

    def __init__(self, rates: Rates, now_ms: int) -> None:
        self._buckets = [(at, Bucket(per_s, now_ms)) for at, per_s in enumerate(rates) if per_s]

    def take(self, came: Rates, now_ms: int) -> int:
        """As of a bucket: the longest of them."""
        return max((bucket.take(came[at], now_ms) for at, bucket in self._buckets), default=0)

    def wait_ms(self, now_ms: int) -> int:
        return max((bucket.wait_ms(now_ms) for _, bucket in self._buckets), default=0)

    def is_full(self, now_ms: int) -> bool:
        return all(bucket.is_full(now_ms) for _, bucket in self._buckets)
