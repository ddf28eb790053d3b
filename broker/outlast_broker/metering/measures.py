"""How long things take, as histograms: observed per commit, never per record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .histogram import AMOUNTS, MICROSECONDS, Histogram

if TYPE_CHECKING:
    from ..group import Group


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

    def committed(
        self, group: Group, commit_us: int, sync_us: int, now_us: int, ended_us: int, deliveries: int
    ) -> None:
        """The group is on disk since `ended_us`, and was released now. Its publishes differ in when they came."""
        self.commit_us.observe(commit_us)
        self.sync_us.observe(sync_us)
        if group.records:
            self.commit_records.observe(group.records)
        if deliveries:
            self.delivery_us.observe(now_us - ended_us, deliveries)
        self.publish_us.observe_since(now_us, group.heard_us, [len(words) >> 1 for words in group.acks.values()])

    def tick(self, now_ms: int) -> None:
        for name in self.__slots__:
            histogram: Histogram = getattr(self, name)
            histogram.tick(now_ms)
