"""Folding: a run of the log in which each message is one record, at its place (PROTOCOL.md 4.7). Pure.

What is left out leaves a gap, so the run comes back as tiles: they stand for the same offsets as the batches did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from outlast_protocol import Record
from outlast_protocol.batch import (
    HEAD,
    HEAD_BYTES,
    KIND_RECORDS,
    KIND_TILE,
    LabelKey,
    Span,
    encode_labelled,
    read_labels,
    read_records,
    spans,
    stamp,
)
from outlast_protocol.operations import MESSAGE_OPS, Op, Operation
from outlast_protocol.tile import make_tile, tile_run

from .session import Growing

# A tile is let go of when it has grown by this: what a reader resumes inside of comes whole.
TILE_BYTES = 32_768


class Sight(NamedTuple):
    """How a run is to be seen: messages as `growing` has them, and without what is over at `now_ms`.

    `growing` has every message whose operations may still lie about in the log. `content` gives what one holds, or None
    when that cannot be had any more as of its place: then it went on, and is met further along.
    """

    growing: Mapping[int, Growing]
    content: Callable[[Growing], bytes | None]
    now_ms: int


def fold(run: bytes, sight: Sight) -> bytes:
    """The run of stamped batches as `sight` sees it."""
    folding = _Folding(sight)
    for span in spans(run):
        folding.add(run[span.start : span.end], span)
    return folding.end()


def passed_over(first: int, last: int, last_ms: int, sight: Sight) -> bytes:
    """Tiles for a stretch in which every record grows one of the messages in `sight`: what is met are their places."""
    tiles: list[bytes] = []
    placed = sorted(
        (each for each in sight.growing.values() if first <= each.place <= last), key=lambda each: each.place
    )
    for growing in placed:
        content = sight.content(growing)
        batch = b"" if content is None else folded_batch(growing, content)
        tiles.append(make_tile(first, growing.place, growing.time_ms, batch))
        first = growing.place + 1
    if first <= last:
        tiles.append(make_tile(first, last, last_ms, b""))
    return b"".join(tiles)


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
        if self._is_passed(batch):
            return []
        records = read_records(batch)
        seen = [self._seen(record) for record in records]
        if all(each is record for each, record in zip(seen, records, strict=True)):
            return [batch]
        return _rejoined(seen)

    def _is_passed(self, batch: bytes) -> bool:
        """Whether all of it is one message's, and before that message's place: so is nearly every token."""
        _, _, offset, _, _, client_length, _, records, labels_length = HEAD.unpack_from(batch)
        start = HEAD_BYTES + client_length
        labels = read_labels(batch[start : start + labels_length])
        operation = labels[0].operation
        if len(labels) > 1 or operation is None or operation.op is not Op.APPEND:
            return False
        growing = self._sight.growing.get(operation.message)
        return growing is not None and offset + records - 1 < growing.place

    def _seen(self, record: Record) -> Record | bytes | None:
        """The record itself, a message at its place, or nothing."""
        operation = record.operation
        if operation is None:
            perished = record.ttl_ms and record.time_ms + record.ttl_ms <= self._sight.now_ms
            return None if perished else record
        if operation.op not in MESSAGE_OPS:
            return record
        growing = self._sight.growing.get(operation.message or record.offset)
        if growing is None or record.offset > growing.place:
            return record
        if record.offset < growing.place:
            return None
        if operation.op is Op.FOLDED:
            return record
        content = self._sight.content(growing)
        return None if content is None else folded_batch(growing, content)


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


def folded_batch(growing: Growing, content: bytes) -> bytes:
    """The stamped batch of one record that stands for a message (PROTOCOL.md 4.7)."""
    operation = Operation(Op.FOLDED, growing.message, growing.state, growing.reason)
    label = (growing.encoding, growing.name, tuple(sorted(growing.headers.items())), operation, 0)
    return stamp(encode_labelled(growing.client, [(label, content)]), growing.place, growing.time_ms)


def count(run: bytes) -> int:
    """How many records the run gives."""
    given = 0
    for span in spans(run):
        kind = HEAD.unpack_from(run, span.start)[4]
        given += count(run[span.start + HEAD_BYTES : span.end]) if kind == KIND_TILE else span.records
    return given


def assemble(parts: Iterable[bytes], growing: Growing) -> bytes | None:
    """What a message holds, from runs of the log that reach from its base to its place and may overlap.

    None when either is not there.
    """
    content: bytearray | None = None
    reached = growing.base - 1
    for run in parts:
        for record, op in _operations_on(run, growing):
            if record.offset <= reached:
                continue
            reached = record.offset
            if op in _ANEW:
                content = bytearray(record.data)
            elif content is None:
                return None
            elif op is Op.APPEND:
                content += record.data
    return bytes(content) if content is not None and reached == growing.place else None


def _operations_on(run: bytes, growing: Growing) -> Iterator[tuple[Record, Op]]:
    for span in spans(run):
        if span.last < growing.base or HEAD.unpack_from(run, span.start)[4] == KIND_RECORDS:
            continue
        for record in read_records(run[span.start : span.end]):
            operation = record.operation
            if operation is None or operation.op not in MESSAGE_OPS or record.offset > growing.place:
                continue
            if (operation.message or record.offset) == growing.message:
                yield record, operation.op


_ANEW = frozenset({Op.OPEN, Op.FOLDED, Op.REPLACE, Op.REMOVE})
