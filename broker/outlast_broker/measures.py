"""How long things take, as histograms: observed per commit, never per record."""

from __future__ import annotations

from .histogram import AMOUNTS, MICROSECONDS, Histogram


class Measures:
    """`publish_us`: from reading a PUBLISH to its acknowledgement. `delivery_us`: from the disk to the sockets of live
    readers. `commit_us`: what the disk's thread took, `sync_us`: what of it was writing and syncing. `commit_records`:
    how many records one commit had. `loop_lag_us`: by how much the loop was late.
    """

    __slots__ = ("commit_records", "commit_us", "delivery_us", "loop_lag_us", "publish_us", "sync_us")

    def __init__(self) -> None:
        self.publish_us = Histogram(MICROSECONDS)
        self.delivery_us = Histogram(MICROSECONDS)
        self.commit_us = Histogram(MICROSECONDS)
        self.sync_us = Histogram(MICROSECONDS)
        self.commit_records = Histogram(AMOUNTS)
        self.loop_lag_us = Histogram(MICROSECONDS)

    def tick(self, now_ms: int) -> None:
        for name in self.__slots__:
            histogram: Histogram = getattr(self, name)
            histogram.tick(now_ms)
