"""One channel's traffic as the load sees it: how much was sent, acknowledged and delivered, and how late.

Messages are counted, not looked at: they travel in order, so the n-th sent is the n-th delivered. Of every
`sample` messages one is a mark, (its number, when it was sent); whoever passes a mark notes a latency.
"""

from __future__ import annotations

import math
from array import array
from collections import deque


class Lane:
    """`window` bounds unacknowledged messages; `unit` is the batch size, 0 for "all that is free".

    `number`, `index`, `sequence` and `pending` belong to the writer that serves the lane.
    """

    __slots__ = (
        "ack_mark", "acked", "feeds", "index", "marks", "name", "next_mark", "number", "pending", "sample", "sent",
        "sequence", "unit", "window",
    )  # fmt: skip

    def __init__(self, name: str, window: int, unit: int = 0, sample: int = 64) -> None:
        self.name = name
        self.window = window
        self.unit = unit
        self.sample = sample
        self.number = 0
        self.index = 0
        self.sequence = 0
        self.sent = self.acked = 0
        self.next_mark = 1
        self.marks: list[tuple[int, float]] = []
        self.ack_mark = 0
        self.pending: deque[int] = deque()
        self.feeds: list[Feed] = []

    def free(self) -> int:
        """How many messages may be sent now."""
        return self.window - (self.sent - self.acked)

    def send(self, count: int, now_s: float) -> None:
        """`count` messages are going out in one piece; the last of them may become a mark."""
        self.sent += count
        if self.sent >= self.next_mark:
            self.marks.append((self.sent, now_s))
            self.next_mark = self.sent + self.sample

    def ack(self, count: int, now_s: float, latencies: array[float]) -> None:
        self.acked += count
        marks = self.marks
        while self.ack_mark < len(marks) and marks[self.ack_mark][0] <= self.acked:
            latencies.append(now_s - marks[self.ack_mark][1])
            self.ack_mark += 1


class Feed:
    """One reader's progress in a lane. `next` is the offset it expects, where a system has offsets."""

    __slots__ = ("delivered", "lane", "latencies", "mark", "next", "unspent")

    def __init__(self, lane: Lane, latencies: array[float], start: str | int = "latest") -> None:
        self.lane = lane
        self.latencies = latencies
        self.delivered = start if isinstance(start, int) else 0
        self.mark = len(lane.marks) if isinstance(start, int) else 0
        self.next = 0
        self.unspent = 0
        lane.feeds.append(self)

    def deliver(self, count: int, now_s: float) -> None:
        self.delivered += count
        marks = self.lane.marks
        while self.mark < len(marks) and marks[self.mark][0] <= self.delivered:
            self.latencies.append(now_s - marks[self.mark][1])
            self.mark += 1


def percentile_ms(latencies: array[float], share: float) -> float:
    """The latency that `share` of the samples do not exceed, in ms; not a number without samples."""
    if not latencies:
        return math.nan
    return sorted(latencies)[max(0, math.ceil(share * len(latencies)) - 1)] * 1e3
