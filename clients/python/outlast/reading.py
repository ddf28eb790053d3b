"""Where one subscription stands, without any I/O: what to ask for, what has come, what its user has.

Two marks matter. Up to `position` everything was handed to the user: after it the next connection resumes.
The arrival mark is the last record that came: what follows it must be the next offset, or the broker
broke its promise (PROTOCOL.md 2.2). What came and was not handed is dropped when a connection ends.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from outlast_protocol import Position, ProtocolError, Record as StoredRecord
from outlast_protocol.batch import Span, read_records, spans
from outlast_protocol.frames import Resync as ResyncFrame, Subscribed
from outlast_protocol.session_frames import Attached
from outlast_protocol.tile import is_tile, tile_run

from .errors import Resync, Violation
from .records import Record, from_store
from .starts import EARLIEST, Start, behind

DELIVER_HEAD_BYTES = 16
# Raw bytes that are decoded in one go, so that a full window does not hold up the loop.
RUN_BYTES = 65_536


class Run(NamedTuple):
    """Whole batches of one epoch, end to end, up to offset `last`; `cost` is what they took of the credit."""

    batches: bytes
    cost: int
    epoch: int
    records: int
    last: int


class Reading:
    """Feed it SUBSCRIBED, DELIVER and RESYNC; take `records` from it, then `advance`."""

    __slots__ = ("_arrived", "_asked", "_consumed", "_cost", "_cursor", "_epoch", "_last", "_queue", "_start",
                 "_window", "asked_cursor", "dormant", "ended", "position", "records")  # fmt: skip

    def __init__(self, start: Start, window_bytes: int, cursor: str | None = None) -> None:
        self._start = start
        self._cursor = cursor
        # By which cursor the present subscription was asked for; one that resumes has its own position.
        self.asked_cursor: str | None = None
        self._window = window_bytes
        self._asked = start
        self._arrived = 0
        self._epoch = 0
        self._queue: deque[Run | Resync] = deque()
        self._consumed = 0
        self._cost = 0
        # Where the run ends whose records are being handed over: behind its last one, tiles may stand for more.
        self._last = 0
        self.records: deque[Record] = deque()
        self.position: Position | None = None
        self.ended = False
        self.dormant = False

    @property
    def next_one(self) -> Record | None:
        """The record that `next_record` would hand over."""
        return self.records[0] if self.records else None

    @property
    def buffered(self) -> int:
        """Records that have come and are not handed over yet."""
        return len(self.records) + sum(item.records for item in self._queue if isinstance(item, Run))

    # --- asking -------------------------------------------------------------------------------------------

    def ask(self) -> Start:
        """Where to subscribe now: behind what the user has, or where the user wanted to start."""
        self.lost()
        self._asked = self._start if self.position is None else behind(self.position)
        self.asked_cursor = self._cursor if self.position is None else None
        return self._asked

    def lost(self) -> None:
        """The subscription is gone, and with it what was not handed over.

        What came before the end of a deleted channel is kept: nobody could deliver it again.
        """
        if not self.ended:
            self._clear()

    def restart(self) -> None:
        """The user goes on after `deleted`: the next life is read from its start."""
        self.ended = self.dormant = False

    def _clear(self) -> None:
        self._queue.clear()
        self.records.clear()
        self._consumed = self._cost = self._arrived = 0

    def subscribed(self, answer: Subscribed | Attached) -> None:
        """Raises Violation when the broker resumes elsewhere and does not say so."""
        place = Position(answer.epoch, answer.after)
        asked = self._asked
        self._epoch, self._arrived = place
        if answer.resync is not None:
            self._queue.append(Resync(answer.resync, place))
            return
        wrong_epoch = asked.epoch is not None and asked.epoch != answer.epoch
        wrong = wrong_epoch or (asked.after is not None and asked.after != answer.after)
        if wrong and self.asked_cursor is None:
            raise Violation(f"asked for what follows {asked.after}, got what follows {place} without a resync")
        self.position = place

    # --- what comes ---------------------------------------------------------------------------------------

    def delivered(self, batches: bytes) -> None:
        """Raises Violation when a record is missing before these."""
        start, cost, count, end = 0, DELIVER_HEAD_BYTES, 0, len(batches)
        try:
            for span in spans(batches):
                if span.offset > self._arrived + 1:
                    raise Violation(f"offset {span.offset} came after {self._arrived}: records are missing")
                self._arrived = max(self._arrived, span.last)
                count += _records_in(batches, span)
                if span.end - start >= RUN_BYTES or span.end == end:
                    run = batches[start : span.end]
                    self._queue.append(Run(run, len(run) + cost, self._epoch, count, self._arrived))
                    start, cost, count = span.end, 0, 0
        except ProtocolError as error:
            raise Violation(f"what was delivered cannot be read: {error}") from None

    def resynced(self, frame: ResyncFrame) -> None:
        """`deleted` ends the subscription, anything else moves it on."""
        if frame.reason == "deleted":
            self.ended = True
            self._queue.append(Resync(frame.reason))
            return
        self._epoch, self._arrived = frame.epoch, frame.after
        self._queue.append(Resync(frame.reason, Position(frame.epoch, frame.after)))

    # --- handing over -------------------------------------------------------------------------------------

    def next_record(self) -> Record | None:
        """The next record that is decoded already; handing it over moves `position`."""
        if not self.records:
            return None
        record = self.records.popleft()
        self.position = record.position if self.records else Position(record.epoch, max(self._last, record.offset))
        return record

    def advance(self) -> Resync | bool:
        """Decodes the next run, or gives the resync that comes before it. False: nothing has come.

        Raises Violation when bytes do not match their checksum or are no batch.
        """
        self._consumed += self._cost
        self._cost = 0
        if not self._queue:
            return False
        item = self._queue.popleft()
        if isinstance(item, Resync):
            self._move(item)
            return item
        self._cost = item.cost
        have = self.position.offset if self.position else 0
        records = from_store(_read(item.batches), item.epoch)
        if records and records[0].offset <= have:
            records = [record for record in records if record.offset > have]
        self.records.extend(records)
        self._last = item.last
        if not records:
            self.position = Position(item.epoch, max(have, item.last))
        return True

    def _move(self, resync: Resync) -> None:
        """From here on the user knows: the subscription stands where the resync put it."""
        self.position = resync.position
        if resync.position is None:
            self._start = EARLIEST
            self.dormant = True

    def credit_due(self) -> int:
        """Bytes to give back to the broker now, 0 while it is not worth a frame.

        A quarter of the window at least: a broker that has used its credit up is thus always owed some.
        """
        if self._consumed < max(self._window // 4, 1):
            return 0
        due, self._consumed = self._consumed, 0
        return due


def _records_in(batches: bytes, span: Span) -> int:
    """A tile stands for more offsets than it holds records (PROTOCOL.md 4.7)."""
    if not is_tile(batches, span.start):
        return span.records
    return sum(inner.records for inner in spans(tile_run(batches[span.start : span.end])))


def _read(batches: bytes) -> list[StoredRecord]:
    try:
        return read_records(batches)
    except (ProtocolError, ValueError, LookupError) as error:
        raise Violation(f"what was delivered cannot be read: {error}") from None
