"""What one channel's publishes go through, without any I/O: queue, one batch on its way, answer.

At most one batch per channel is unanswered. What is published meanwhile waits, and goes together in the
next one: the latency of one message, the throughput of batches (PROTOCOL.md 11.1). A batch keeps its
sequence until it is acknowledged, over any number of connections; a refused one gives it back (6.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from outlast_protocol.batch import HEAD_BYTES
from outlast_protocol.frames import UNCONDITIONAL
from outlast_protocol.limits import BATCH_LABELS_MAX, CLIENT_ID_BYTES_MAX

from .backoff import Pace, delay_ms
from .errors import OutlastError, SequenceGap, TooLarge
from .rows import Label, Row, about, batch_bytes, encode_rows, row_bytes_max

Ticket = TypeVar("Ticket")
# What a waiting message takes beside its bytes: objects, its future, its place in the queue.
HELD_BYTES = 256
_LABEL_TABLE_HEAD_BYTES = 3
_HEAD_BYTES_MAX = HEAD_BYTES + CLIENT_ID_BYTES_MAX + _LABEL_TABLE_HEAD_BYTES
# A refusal with one of these is the fault of one message, not of those that happened to go with it.
_FAULT_OF_ONE = frozenset(
    {
        "bad_batch", "foreign_message", "frame_too_large", "limit_exceeded", "message_closed", "not_a_number",
        "unknown_message", "unsupported_kind", "version_mismatch",
    }
)  # fmt: skip


class Bounds(NamedTuple):
    """What WELCOME allows one batch to be, and in whose name it is published."""

    client_id: str
    batch_bytes: int
    batch_records: int
    batch_labels: int = BATCH_LABELS_MAX


class Anchor:
    """Where a growing message was opened, in which life of its channel, and how far it is on disk.

    `offset` is 0 until the opening is acknowledged. What is said of a message before that waits behind its opening.
    """

    __slots__ = ("epoch", "failure", "offset", "place")

    def __init__(self, offset: int = 0, epoch: int | None = None, place: int = 0) -> None:
        self.offset = offset
        self.epoch = epoch
        self.place = place
        # Of the first operation that failed: those that came after it fail, too, so that no text has a hole.
        self.failure: OutlastError | None = None

    def acknowledged(self, first: int, last: int, epoch: int) -> None:
        """An operation on the message is on disk; the first one is the opening."""
        if not self.offset:
            self.offset, self.epoch = first, epoch
        self.place = max(self.place, last)


class Leased(Protocol):
    """A lease under which is published: `fence` gives its token, or raises Fenced once it is over."""

    def fence(self) -> int: ...


def fence_of(lease: Leased | None) -> int:
    return 0 if lease is None else lease.fence()


class Tie(NamedTuple):
    """What a publish depends on: a life of the channel, the lease whose token is `fence`, a growing message.

    `late` rows name the message by a stand-in until its offset is known.
    """

    epoch: int | None = None
    fence: int = 0
    anchor: Anchor | None = None
    late: bool = False


FREE = Tie()


class Entry(Generic[Ticket]):
    """One call of publish. `ticket` is the caller's and not looked into; `alone` keeps its batch its own.

    `bytes_max` is what it adds to a batch at most, `held_bytes` what it counts for while it waits.
    """

    __slots__ = ("alone", "bytes_max", "held_bytes", "if_offset", "rows", "ticket", "tie")

    def __init__(
        self, rows: Sequence[Row], ticket: Ticket, if_offset: int | None, alone: bool, tie: Tie = FREE
    ) -> None:
        self.rows = rows
        self.ticket = ticket
        self.if_offset = UNCONDITIONAL if if_offset is None else if_offset
        self.tie = tie
        self.alone = alone or if_offset is not None
        self.bytes_max = row_bytes_max(rows[0]) if len(rows) == 1 else sum(map(row_bytes_max, rows))
        self.held_bytes = self.bytes_max + HELD_BYTES * len(rows)

    @property
    def fence(self) -> int:
        return self.tie.fence

    @property
    def epoch(self) -> int | None:
        """The only life of the channel that it may go into; None: any."""
        anchor = self.tie.anchor
        return self.tie.epoch if anchor is None else anchor.epoch

    @property
    def is_ready(self) -> bool:
        """Everything that its bytes say is known."""
        return not self.tie.late or self.tie.anchor is None or self.tie.anchor.offset > 0

    def settle_rows(self) -> None:
        """Names the message by its offset, now that this is known."""
        anchor = self.tie.anchor
        if self.tie.late and anchor is not None and anchor.offset:
            self.rows = [about(row, anchor.offset) for row in self.rows]
            self.tie = self.tie._replace(late=False)


class Outgoing(Generic[Ticket]):
    """A batch with its sequence, from its first sending to its answer."""

    __slots__ = ("_bytes", "_client_id", "entries", "epochs", "sequence")

    def __init__(self, entries: list[Entry[Ticket]], sequence: int) -> None:
        self.entries = entries
        self.sequence = sequence
        self.epochs = {entry.epoch for entry in entries} - {None}
        self._client_id: str | None = None
        self._bytes = b""

    @property
    def if_offset(self) -> int:
        return self.entries[0].if_offset

    @property
    def fence(self) -> int:
        return self.entries[0].fence

    def is_for(self, epoch: int) -> bool:
        """Whether all of it may go into this life of the channel."""
        return self.epochs <= {epoch}

    def bytes_for(self, client_id: str) -> bytes:
        """Encoded once, unless another connection gave the client another name."""
        if client_id != self._client_id:
            self._bytes = encode_rows(client_id, [row for entry in self.entries for row in entry.rows])
            self._client_id = client_id
        return self._bytes


def _may_join(entry: Entry[Ticket], following: Entry[Ticket]) -> bool:
    """Whether both can go in one batch."""
    return not entry.alone and not following.alone and entry.fence == following.fence and following.is_ready


class _Room(Generic[Ticket]):
    """What one batch holds so far. Labels are only looked at once there are more records than labels may be."""

    __slots__ = ("_bounds", "_entries", "_labels", "_records", "_size")

    def __init__(self, bounds: Bounds, first: Entry[Ticket]) -> None:
        self._bounds = bounds
        self._size = HEAD_BYTES + len(bounds.client_id.encode()) + _LABEL_TABLE_HEAD_BYTES + first.bytes_max
        self._records = len(first.rows)
        self._entries = [first]
        self._labels: set[Label] = set()

    def has_for(self, entry: Entry[Ticket]) -> bool:
        """Whether `entry` goes with those before it; then it does."""
        self._size += entry.bytes_max
        self._records += len(entry.rows)
        self._entries.append(entry)
        bounds = self._bounds
        fits = self._size <= bounds.batch_bytes and self._records <= bounds.batch_records
        return fits and (self._records <= bounds.batch_labels or self._count_labels() <= bounds.batch_labels)

    def _count_labels(self) -> int:
        for entry in self._entries:
            self._labels.update(label for label, _ in entry.rows)
        self._entries.clear()
        return len(self._labels)


class Publisher(Generic[Ticket]):
    """Feed it entries; it says what to send now and which entries an answer settles."""

    __slots__ = ("_attempt", "_outgoing", "_queue", "_sequence", "not_before_ms", "on_its_way")

    def __init__(self) -> None:
        self._queue: deque[Entry[Ticket]] = deque()
        self._outgoing: Outgoing[Ticket] | None = None
        self._sequence = 1
        self._attempt = 0
        self.not_before_ms = 0.0
        self.on_its_way = False

    @property
    def idle(self) -> bool:
        """Nothing is waiting and nothing unanswered."""
        return self._outgoing is None and not self._queue

    @property
    def is_tied(self) -> bool:
        """What is sent next belongs to a life that the channel has had: it must not bring about a new one."""
        if self._outgoing is not None:
            return bool(self._outgoing.epochs)
        return bool(self._queue) and self._queue[0].epoch is not None

    def add(self, entry: Entry[Ticket]) -> None:
        self._queue.append(entry)

    def next(self, bounds: Bounds, now_ms: float) -> Outgoing[Ticket] | None:
        """What to send now: the batch to be sent again, else a new one, else nothing."""
        if self.on_its_way or now_ms < self.not_before_ms or self.idle:
            return None
        if self._outgoing is None:
            self._outgoing = Outgoing(self._take(bounds), self._sequence)
        self.on_its_way = True
        return self._outgoing

    def _take(self, bounds: Bounds) -> list[Entry[Ticket]]:
        queue = self._queue
        taken = [queue.popleft()]
        room = _Room(bounds, taken[0])
        while queue and _may_join(taken[-1], queue[0]) and room.has_for(queue[0]):
            taken.append(queue.popleft())
        for entry in taken:
            if entry.tie.late:
                entry.settle_rows()
        return taken

    def acknowledged(self) -> list[Entry[Ticket]]:
        """The batch is on disk. Returns its entries, in order."""
        self._sequence += 1
        return self._settle()

    def lost(self) -> None:
        """The connection ended before the answer: the batch goes again, under its sequence."""
        self.on_its_way = False

    def refused(self, error: OutlastError, now_ms: float, pace: Pace, roll: float) -> list[Entry[Ticket]]:
        """Returns the entries for which `error` is final; none of them when the batch is to go again."""
        self.on_its_way = False
        if error.retryable:
            self._retry_later(error, now_ms, pace, roll)
            return []
        if error.code in _FAULT_OF_ONE and self._outgoing and len(self._outgoing.entries) > 1:
            self._send_one_by_one(self._outgoing.entries)
            return []
        return self._settle()

    def last_under(self, fence: int) -> Entry[Ticket] | None:
        """Of what was published under this token and is not settled, the entry that will be settled last."""
        waiting = [*(self._outgoing.entries if self._outgoing else ()), *self._queue]
        return next((entry for entry in reversed(waiting) if entry.fence == fence), None)

    def expel(self, epoch: int | None) -> list[Entry[Ticket]]:
        """Gives up what was made for another life of the channel than this one, None: for any. The rest waits on."""
        if self._outgoing is not None:
            self._queue.extendleft(reversed(self._outgoing.entries))
        waiting, self._queue = self._queue, deque()
        self._outgoing = None
        self.on_its_way = False
        expelled: list[Entry[Ticket]] = []
        for entry in waiting:
            (self._queue if entry.epoch in (None, epoch) else expelled).append(entry)
        return expelled

    def withdraw(self, anchors: Collection[Anchor]) -> list[Entry[Ticket]]:
        """Gives up what waits to be said of these messages."""
        waiting, self._queue = self._queue, deque()
        withdrawn: list[Entry[Ticket]] = []
        for entry in waiting:
            (withdrawn if entry.tie.anchor in anchors else self._queue).append(entry)
        return withdrawn

    def drain(self) -> list[Entry[Ticket]]:
        """Gives everything up. Returns all entries that were never acknowledged."""
        entries = [*self._settle(), *self._queue]
        self._queue.clear()
        return entries

    def _settle(self) -> list[Entry[Ticket]]:
        entries = self._outgoing.entries if self._outgoing else []
        self._outgoing = None
        self.on_its_way = False
        self._attempt = 0
        return entries

    def _retry_later(self, error: OutlastError, now_ms: float, pace: Pace, roll: float) -> None:
        """A gap means that the broker forgot what it had acknowledged (a backup was restored): nothing
        of it is left to resend, so the batch takes the sequence that the broker waits for.
        """
        if isinstance(error, SequenceGap) and error.expected and self._outgoing:
            self._sequence = self._outgoing.sequence = error.expected
        delay = delay_ms(self._attempt, pace, roll, error.retry_after_ms)
        self.not_before_ms = now_ms + delay
        self._attempt += 1

    def _send_one_by_one(self, entries: list[Entry[Ticket]]) -> None:
        for entry in entries:
            entry.alone = True
        self._queue.extendleft(reversed(entries))
        self._outgoing = None


def check_size(entry: Entry[Ticket], bounds: Bounds) -> None:
    """Raises TooLarge for what can never be one batch: splitting it would break its atomicity."""
    rows = entry.rows
    if len(rows) > bounds.batch_records:
        values: dict[str, int | str] = {"limit": bounds.batch_records, "value": len(rows)}
        raise TooLarge(f"{len(rows)} records, one batch holds {bounds.batch_records}", detail=values)
    if len(rows) > bounds.batch_labels and (labels := len({label for label, _ in rows})) > bounds.batch_labels:
        values = {"limit": bounds.batch_labels, "value": labels}
        text = f"{labels} different names, headers or operations, one batch holds {bounds.batch_labels}"
        raise TooLarge(text, detail=values)
    if entry.bytes_max + _HEAD_BYTES_MAX <= bounds.batch_bytes:
        return
    size = batch_bytes(bounds.client_id, rows)
    if size > bounds.batch_bytes:
        values = {"limit": bounds.batch_bytes, "value": size}
        raise TooLarge(f"{size} bytes as a batch, allowed are {bounds.batch_bytes}", detail=values)
