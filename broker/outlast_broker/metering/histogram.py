"""How often something took how long, or was how large: whole numbers in buckets, without a lock. Pure.

The loop observes, once per commit or so; who asks reads. A reader in another thread sees counts that are each right,
though one of them may be newer than another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

# Each is about 1.4 of the one before, so that a quantile is read off to within a fifth or so.
MICROSECONDS = (
    250, 350, 500, 700, 1_000, 1_400, 2_000, 2_800, 4_000, 5_600, 8_000, 11_000, 16_000, 22_000, 32_000, 45_000,
    64_000, 90_000, 128_000, 256_000, 512_000, 1_000_000, 2_000_000, 4_000_000, 10_000_000,
)  # fmt: skip
AMOUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
# What is recent: so many spans of so long, and the one that is running.
RECENT_SPANS = 6
SPAN_MS = 10_000


class Histogram:
    """`counts[n]` are those of at most `bounds[n]`, and above the bound before; the last are those above all."""

    __slots__ = ("_past", "_span_ms", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0
        self._past: deque[list[int]] = deque([self.counts.copy()], RECENT_SPANS)
        self._span_ms = 0

    def observe(self, value: int, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def observe_since(self, now: int, began: Iterable[int], times: Iterable[int]) -> None:
        """Many at once: `now` less each of `began`, so many times each."""
        bounds, counts, total = self.bounds, self.counts, self.total
        for since, count in zip(began, times, strict=True):
            value = now - since
            counts[bisect_left(bounds, value)] += count
            total += value * count
        self.total = total

    def tick(self, now_ms: int) -> None:
        """Once a second or so: what is older than the spans is not recent any more."""
        if now_ms - self._span_ms >= SPAN_MS:
            self._span_ms = now_ms
            self._past.append(self.counts.copy())

    def recent(self, part: float) -> int:
        """So large were `part` of the recent ones at most, about; 0 if there were none."""
        counts = [now - then for now, then in zip(self.counts, self._past[0], strict=True)]
        wanted = part * sum(counts)
        below = 0
        for index, count in enumerate(counts):
            below += count
            if count and below >= wanted:
                return self._within(index, 1 - (below - wanted) / count)
        return 0

    def _within(self, index: int, part: float) -> int:
        """So far into a bucket, as if what is in it were spread evenly. The last bucket has no end to reckon with."""
        if index == len(self.bounds):
            return self.bounds[-1]
        low = self.bounds[index - 1] if index else 0
        return round(low + part * (self.bounds[index] - low))
