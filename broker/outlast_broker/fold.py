"""Folding: a run of the log in which each message is one record, at its place (PROTOCOL.md 4.7). Pure.

What is left out leaves a gap, so the run comes back as tiles: they stand for the same offsets as the batches did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from outlast_protocol import Record
from outlast_protocol.batch import (
    HEAD,
    HEAD_BYTES,
    KIND_RECORDS,
    KIND_SESSION,
    KIND_TILE,
    LabelKey,
    Span,
    encode_labelled,
    read_records,
    spans,
    stamp,
)
from outlast_protocol.operations import MESSAGE_OPS, MessageState, Op, Operation
from outlast_protocol.tile import make_tile, tile_run

# A tile is let go of when it has grown by this: what a reader resumes inside of comes whole.
TILE_BYTES = 32_768


class Whole(NamedTuple):
    """A message with all it holds. `time_ms` is that of its latest operation, at `place`."""

    message: int
    place: int
    time_ms: int
    client: str
    encoding: int
    name: str | None
    headers: Mapping[str, str]
    state: MessageState
    reason: str
    content: bytes


class Sight(NamedTuple):
    """How a run is to be seen: messages by their places, and what is over at `now_ms`.

    `places` has every message whose operations may still lie about in the log; `find` gives one whole, or None when it cannot be
    had any more at that place: then it went on, and is met further along.
    """

    places: Mapping[int, int]
    find: Callable[[int], Whole | None]
    now_ms: int


def fold(run: bytes, sight: Sight) -> bytes:
    """The run of stamped batches as `sight` sees it."""
    folding = _Folding(sight)
    for span in spans(run):
        folding.add(run[span.start : span.end], span)
    return folding.end()


class _Folding:
    """One run on its way through. `_kept` are the batches of the tile that is being made."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._done: list[bytes] = []
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._first = self._last = self._time_ms = 0
        self._gaps = False

    def add(self, batch: bytes, span: Span) -> None:
        left = self._left(batch)
        if left is None:
            self._take([batch], span, gaps=False)
        else:
            self._take(left, span, gaps=True)

    def end(self) -> bytes:
        self._let_go()
        return b"".join(self._done)

    def _take(self, batches: list[bytes], span: Span, gaps: bool) -> None:
        size = sum(map(len, batches))
        if self._kept_bytes and self._kept_bytes + size > TILE_BYTES:
            self._let_go()
        if not self._first:
            self._first = span.offset
        self._last, self._time_ms = span.last, span.time_ms
        self._kept += batches
        self._kept_bytes += size
        self._gaps |= gaps

    def _let_go(self) -> None:
        """What has no gap needs no tile around it."""
        run = b"".join(self._kept)
        if self._gaps:
            self._done.append(make_tile(self._first, self._last, self._time_ms, run))
        elif run:
            self._done.append(run)
        self._kept = []
        self._kept_bytes = self._first = 0
        self._gaps = False

    # --- one batch ----------------------------------------------------------------------------------------

    def _left(self, batch: bytes) -> list[bytes] | None:
        """The batches that are left of one; None: all of it."""
        kind = HEAD.unpack_from(batch)[4]
        if kind == KIND_RECORDS:
            return None
        if kind == KIND_TILE:
            inner = tile_run(batch)
            return [part for span in spans(inner) for part in self._parts(inner[span.start : span.end])]
        parts = self._parts(batch)
        return None if parts == [batch] else parts

    def _parts(self, batch: bytes) -> list[bytes]:
        if HEAD.unpack_from(batch)[4] == KIND_RECORDS:
            return [batch]
        records = read_records(batch)
        seen = [self._seen(record) for record in records]
        if all(each is record for each, record in zip(seen, records, strict=True)):
            return [batch]
        return _rejoined(seen)

    def _seen(self, record: Record) -> Record | bytes | None:
        """The record itself, a message at its place, or nothing."""
        operation = record.operation
        if operation is None:
            perished = record.ttl_ms and record.time_ms + record.ttl_ms <= self._sight.now_ms
            return None if perished else record
        if operation.op not in MESSAGE_OPS:
            return record
        message = operation.message or record.offset
        place = self._sight.places.get(message)
        if place is None or record.offset > place:
            return record
        if record.offset < place:
            return None
        if operation.op is Op.FOLDED:
            return record
        whole = self._sight.find(message)
        return None if whole is None else folded_batch(whole)


def _rejoined(seen: Sequence[Record | bytes | None]) -> list[bytes]:
    """Batches of what is left: records side by side stay together."""
    parts: list[bytes] = []
    together: list[Record] = []
    for each in (*seen, None):
        if isinstance(each, Record):
            together.append(each)
            continue
        if together:
            parts.append(_batch_of(together))
            together = []
        if each is not None:
            parts.append(each)
    return parts


def _batch_of(records: list[Record]) -> bytes:
    first = records[0]
    rows = [(_label(record), record.data) for record in records]
    return stamp(encode_labelled(first.client_id, rows), first.offset, first.time_ms)


def _label(record: Record) -> LabelKey:
    plain = (record.encoding, record.name, tuple(sorted(record.headers.items())))
    return plain if record.operation is None and not record.ttl_ms else (*plain, record.operation, record.ttl_ms)


def folded_batch(whole: Whole) -> bytes:
    """The stamped batch of one record that stands for a message."""
    operation = Operation(Op.FOLDED, whole.message, whole.state, whole.reason)
    label = (whole.encoding, whole.name, tuple(sorted(whole.headers.items())), operation, 0)
    return stamp(encode_labelled(whole.client, [(label, whole.content)]), whole.place, whole.time_ms)


def count(run: bytes) -> int:
    """How many records the run gives."""
    given = 0
    for span in spans(run):
        kind = HEAD.unpack_from(run, span.start)[4]
        given += count(run[span.start + HEAD_BYTES : span.end]) if kind == KIND_TILE else span.records
    return given


def assemble(parts: Sequence[bytes], message: int, place: int) -> Whole | None:
    """A message from runs of the log that reach from its number, or from where it was folded, to `place`.

    None when its beginning or its place is not there.
    """
    whole: Whole | None = None
    content = bytearray()
    for run in parts:
        for record in _operations_on(run, message, place):
            assert record.operation is not None
            op, state = record.operation.op, record.operation.state
            if op is Op.OPEN or op is Op.FOLDED:
                content = bytearray(record.data)
                whole = Whole(
                    message, record.offset, record.time_ms, record.client_id, record.encoding, record.name,
                    record.headers, state, record.operation.reason, b"",
                )  # fmt: skip
            elif whole is None:
                return None
            else:
                whole = _continued(whole, record, content)
    return whole._replace(content=bytes(content)) if whole is not None and whole.place == place else None


def _operations_on(run: bytes, message: int, place: int) -> list[Record]:
    records = []
    for span in spans(run):
        if span.last < message or HEAD.unpack_from(run, span.start)[4] == KIND_RECORDS:
            continue
        for record in read_records(run[span.start : span.end]):
            operation = record.operation
            if operation is None or operation.op not in MESSAGE_OPS or record.offset > place:
                continue
            if (operation.message or record.offset) == message:
                records.append(record)
    return records


def _continued(whole: Whole, record: Record, content: bytearray) -> Whole:
    assert record.operation is not None
    whole = whole._replace(place=record.offset, time_ms=record.time_ms)
    match record.operation.op:
        case Op.APPEND:
            content += record.data
        case Op.REPLACE:
            content[:] = record.data
        case Op.REMOVE:
            content.clear()
            return whole._replace(state=MessageState.REMOVED, reason="")
        case Op.REOPEN:
            return whole._replace(state=MessageState.OPEN, reason="")
        case Op.CLOSE:
            reason = record.data.decode("utf-8", "replace")
            return whole._replace(state=record.operation.state, reason=reason)
    return whole
