"""When the journal's records move into chunks, and how many with each commit. Pure: it plans, the log does.

The journal is sealed when it has grown enough or is old: every channel that it holds something of is
queued, and each commit takes a slice of the queue. When the queue is empty, all that was sealed lies in
chunks, and the sealed part of the journal is forgotten. New records meanwhile go into the part behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .channel import Channel

SLICE_CHANNELS = 100
SLICE_BYTES = 1 << 20
# A channel costs a page or two when it moves, so many quiet channels wait for more to move at once.
BYTES_PER_CHANNEL = 2_048


class Settling:
    """The journal in two parts: sealed and moving, or young and growing."""

    def __init__(self, journal_bytes: int, journal_age_ms: int) -> None:
        self._limit_bytes = journal_bytes
        self._limit_age_ms = journal_age_ms
        self._young: dict[Channel, None] = {}
        self._young_bytes = 0
        self._young_since_ms = 0
        self._queue: deque[Channel] = deque()
        self._sealed_through = 0
        self._released_through = 0
        self.forget_through = 0
        # Everything is to be sealed with the next commit, however young it is.
        self.hurried = False

    def hurry(self) -> None:
        self.hurried = True

    @property
    def busy(self) -> bool:
        """Whether channels still wait to be moved, or all of the journal to be sealed."""
        return bool(self._queue) or self.hurried

    @property
    def journal_bytes(self) -> int:
        return self._young_bytes

    def note(self, channel: Channel, size: int) -> None:
        """`size` bytes of `channel` are in the journal and nowhere else."""
        self._young[channel] = None
        self._young_bytes += size

    def released(self, journal_newest: int, now_ms: int) -> None:
        """Everything in the journal up to this value has been noted."""
        self._released_through = journal_newest
        if self._young_bytes and not self._young_since_ms:
            self._young_since_ms = now_ms

    def slice(self, group_bytes: int, now_ms: int) -> Iterator[Channel]:
        """The channels to move with a commit of `group_bytes`; a busy journal is moved twice as fast as it grows."""
        if not self._queue and (self.hurried or self.ripe(now_ms)):
            self._seal()
        budget = max(SLICE_BYTES, 2 * group_bytes)
        for _ in range(min(len(self._queue), max(SLICE_CHANNELS, len(self._queue) // 16))):
            channel = self._queue.popleft()
            budget -= sum(map(len, channel.tail))
            yield channel
            if budget <= 0:
                break
        if not self._queue:
            self.forget_through = self._sealed_through

    def ripe(self, now_ms: int) -> bool:
        """Whether the young part of the journal should be sealed."""
        if not self._young:
            return False
        full = self._young_bytes >= max(self._limit_bytes, BYTES_PER_CHANNEL * len(self._young))
        return full or now_ms - self._young_since_ms >= self._limit_age_ms

    def _seal(self) -> None:
        self._queue.extend(self._young)
        self._sealed_through = self._released_through
        self._young = {}
        self._young_bytes = self._young_since_ms = 0
        self.hurried = False
