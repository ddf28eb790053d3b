"""One channel in memory: what is stored of it, the tail that only the journal holds, and who reads along.

    chunks on disk      tail            fresh (in a group, not yet on disk)
    first .. stored     .. last         .. assigned
                        visible <-|

Nobody sees past `last`: what lies beyond could still be taken back by a crash (PROTOCOL.md 2.1).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.batch import HEAD, spans, stamp

from . import chunk
from .chunk import CHUNK_BYTES, MERGE_BYTES, Chunk
from .claim import Claims
from .cursor import Cursors
from .head import Head
from .lease import Leases
from .log import Move
from .producers import Producers
from .retention import Retention
from .session import Session

if TYPE_CHECKING:
    from .attendance import Attendance
    from .subscription import Subscription
    from .web.idempotency import Keys


class Channel:
    """Offsets: `first` to `last` can be read, `assigned` is the highest given, `stored` the highest in a chunk."""

    __slots__ = (
        "active_ms", "assigned", "assigned_ms", "attendance", "chunks_version", "claims", "created_ms", "cursors",
        "dead", "due_ms", "durable", "epoch", "first", "keys", "last", "last_chunk", "last_chunk_bytes",
        "last_ms", "leases", "live", "name", "number", "own_retention", "perishes_ms", "producers", "readers",
        "session", "stored", "stored_bytes", "tail", "tail_firsts", "users",
    )  # fmt: skip

    def __init__(self, number: int, head: Head) -> None:
        self.number = number
        self.name = head.name
        self.epoch = head.epoch
        self.created_ms = head.created_ms
        self.first = head.first
        self.stored = self.last = self.assigned = head.next - 1
        self.last_ms = self.assigned_ms = head.last_ms
        self.stored_bytes = head.stored_bytes
        self.due_ms = head.due_ms
        self.last_chunk = head.last_chunk
        self.last_chunk_bytes = head.last_chunk_bytes
        self.own_retention = dict(head.retention)
        # When the last record with a time to live is over; 0: none lies about.
        self.perishes_ms = head.perishes_ms
        self.producers = Producers(head.producers)
        # Told by this whether the chunks are still as they were read.
        self.chunks_version = 0
        self.tail_firsts: list[int] = []
        self.tail: list[bytes] = []
        # Loaded when somebody first asks for one.
        self.cursors: Cursors | None = None
        self.claims: Claims | None = None
        # Loaded when somebody first publishes under a key.
        self.keys: Keys | None = None
        # Made when somebody first enters or watches.
        self.attendance: Attendance | None = None
        # Loaded with the first operation, or when somebody asks what the channel is.
        self.session: Session | None = None
        # Those that are held are here from the start on; without one, loaded when somebody first asks.
        self.leases: Leases | None = None
        self.readers: set[Subscription] = set()
        self.live: dict[Subscription, None] = {}
        # When the last one who had it open left: a reader keeps a channel from idling away.
        self.active_ms = 0
        self.users = 0
        self.durable = True
        self.dead = False

    def head(self) -> Head:
        """What the store must know of this channel, as of everything accepted so far."""
        return Head(
            self.name,
            self.epoch,
            self.created_ms,
            self.first,
            self.stored + 1,
            self.assigned_ms,
            self.stored_bytes,
            self.due_ms,
            self.last_chunk,
            self.last_chunk_bytes,
            self.own_retention,
            self.producers.pack(),
            self.perishes_ms,
        )

    def retention(self, rule: Retention) -> Retention:
        return rule.overridden(self.own_retention) if self.own_retention else rule

    @property
    def perishable(self) -> bool:
        """Whether something here has a time to live, and may be over and still lie there."""
        return self.perishes_ms > 0

    @property
    def settled(self) -> bool:
        """Whether all that was accepted can be read."""
        return self.assigned == self.last and self.durable

    @property
    def idle(self) -> bool:
        """Whether the log knows all about this channel, and nobody here would miss it."""
        unwritten = self.session is not None and self.session.unwritten
        return not self.users and self.settled and not self.tail and not unwritten

    def entered(self) -> None:
        self.users += 1

    def left(self, now_ms: int) -> None:
        self.users -= 1
        self.active_ms = max(self.active_ms, now_ms)

    def let_go(self) -> None:
        """The channel leaves the memory."""
        if self.session is not None:
            self.session.close()

    # --- publishing ---------------------------------------------------------------------------------------

    def check_condition(self, if_offset: int) -> None:
        if if_offset != self.assigned:
            text = f"the channel's last offset is {self.assigned}, not {if_offset}"
            raise ProtocolError(ErrorCode.OFFSET_MISMATCH, text, last=self.assigned)

    def accept(self, batch: bytes, records: int, now_ms: int) -> bytes:
        """Gives a checked batch its place; returns it stamped. Times never run backwards (PROTOCOL.md 4.1)."""
        if now_ms > self.assigned_ms:
            self.assigned_ms = now_ms
        stamped = stamp(batch, self.assigned + 1, self.assigned_ms)
        self.assigned += records
        return stamped

    def release(self, firsts: list[int], batches: list[bytes]) -> None:
        """What was accepted is on disk now, in the journal."""
        self.tail_firsts += firsts
        self.tail += batches
        _, _, offset, self.last_ms, _, _, _, records, _ = HEAD.unpack_from(batches[-1])
        self.last = offset + records - 1
        if self.session is not None:
            self.session.release(self.last)

    def recover(self, batch: bytes) -> None:
        """A journal entry's batch, at start: kept unless a chunk has it already."""
        span = next(spans(batch))
        if span.offset <= self.stored:
            return
        assert span.offset == self.last + 1, "the journal continues where the chunks end"
        self.release([span.offset], [batch])
        self.assigned, self.assigned_ms = self.last, self.last_ms

    # --- reading ------------------------------------------------------------------------------------------

    def in_tail(self, offset: int) -> bool:
        return bool(self.tail_firsts) and offset >= self.tail_firsts[0]

    def tail_from(self, offset: int, bytes_max: int) -> list[bytes]:
        """Batches from the one that holds `offset` on: at least one, at most about `bytes_max`."""
        start = end = bisect_right(self.tail_firsts, offset) - 1
        size = 0
        while end < len(self.tail) and (end == start or size + len(self.tail[end]) <= bytes_max):
            size += len(self.tail[end])
            end += 1
        return self.tail[start:end]

    def tail_since(self, offset: int) -> list[bytes]:
        """All batches from the one that holds `offset` on, or all there are."""
        return self.tail[max(bisect_right(self.tail_firsts, offset) - 1, 0) :]

    def tail_before(self, offset: int, records: int, bytes_max: int) -> list[bytes]:
        """Batches up to the one that holds `offset`, back until they hold `records` or make `bytes_max`."""
        end = start = bisect_right(self.tail_firsts, offset)
        size = 0
        while start:
            size += len(self.tail[start - 1])
            if size > bytes_max and start < end:
                break
            start -= 1
            if offset - self.tail_firsts[start] + 1 >= records:
                break
        return self.tail[start:end]

    def tail_time(self, time_ms: int) -> int:
        """The last offset before the tail's first batch that is not older than `time_ms`."""
        for batch in self.tail:
            span = next(spans(batch))
            if span.time_ms >= time_ms:
                return span.offset - 1
        return self.last

    # --- leaving the journal ------------------------------------------------------------------------------

    def plan_move(self) -> Move | None:
        """Moves the whole tail into chunks. The tail itself goes when `moved` says that this is on disk."""
        if not self.tail or self.dead:
            return None
        groups = chunk.group_batches(self.tail)
        small = 0 < self.last_chunk_bytes <= MERGE_BYTES and sum(map(len, groups[0])) <= CHUNK_BYTES
        merge = self.last_chunk if small else 0
        # Where nothing is joined, the chunks that are there stay as they are.
        self.chunks_version += bool(merge)
        last_bytes = sum(map(len, groups[-1])) + chunk.HEAD_BYTES
        self.stored_bytes += sum(map(len, self.tail)) + chunk.HEAD_BYTES * (len(groups) - bool(merge))
        if len(groups) == 1 and merge:
            self.last_chunk_bytes += last_bytes - chunk.HEAD_BYTES
        else:
            self.last_chunk = next(spans(groups[-1][0])).offset
            self.last_chunk_bytes = last_bytes
        self.stored = self.last
        return Move(self.number, groups, merge)

    def rewrite(self, olds: list[int], news: list[Chunk], bytes_saved: int) -> None:
        """The chunks at `olds` are to be replaced by these."""
        self.chunks_version += 1
        self.stored_bytes -= bytes_saved
        if self.last_chunk in olds:
            self.last_chunk = news[-1].first
            self.last_chunk_bytes = len(news[-1].batches) + chunk.HEAD_BYTES

    def moved(self) -> None:
        """What `plan_move` took lies in chunks now."""
        self._drop_tail(bisect_right(self.tail_firsts, self.stored))

    def keep_from(self, first: int) -> None:
        """Forgets what lies before `first`, a batch at a time; erasing chunks is the engine's to plan."""
        self.chunks_version += 1
        self.first = max(self.first, first)
        self._drop_tail(sum(next(spans(batch)).last < self.first for batch in self.tail))
        if self.first > self.stored:
            self.stored = (self.tail_firsts[0] if self.tail_firsts else self.last + 1) - 1
            self.last_chunk = self.last_chunk_bytes = 0

    def _drop_tail(self, count: int) -> None:
        del self.tail[:count], self.tail_firsts[:count]
