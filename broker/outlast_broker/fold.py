"""Folding: a run of the log in which each message is one record, at its place (PROTOCOL.md 4.7). Pure.

What is left out leaves a gap, so the run comes back as tiles: they stand for the same offsets as the batches did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import NamedTuple

from outlast_protocol import Record
from outlast_protocol.batch import (
    HEAD_BYTES,
    KIND_AT,
    KIND_RECORDS,
    KIND_SESSION,
    KIND_TILE,
    Label,
    LabelKey,
    Span,
    common_record,
    encode_labelled,
    read_labels,
    read_records,
    spans,
    stamp,
)
from outlast_protocol.limits import BATCH_BYTES_MAX
from outlast_protocol.operations import MESSAGE_OPS, Op, Operation
from outlast_protocol.tile import make_tile, tile_run

from .session import Growing
from .sweep import Perishing

# A tile is let go of when it has grown by this: what a reader resumes inside of comes whole.
TILE_BYTES = 32_768
# As many as a tile can count.
TILE_OFFSETS_MAX = 2**32 - 1
# What is longer gets no tile around it: it fits into a frame as it is.
_TILED_BYTES_MAX = BATCH_BYTES_MAX - HEAD_BYTES
_ALL = 1 << 63
# Of a head, from client_length on.
_FRONT = Struct("<BHII")


class Sight(NamedTuple):
    """How a run is to be seen: messages as `growing` has them, and without what is over at `now_ms`.

    `growing` has every message whose operations may still lie about in the log. `content` gives what one holds, or None
    when that cannot be had any more as of its place: then it went on, and is met further along.
    """

    growing: Mapping[int, Growing]
    content: Callable[[Growing], bytes | None]
    now_ms: int


def fold(run: bytes, sight: Sight, low: int = 0, high: int = _ALL) -> bytes:
    """The run of stamped batches as `sight` sees it: those that hold something of `low` to `high`, each once.

    A run that was read while the store was folded may come to the same offsets twice: what comes first counts.
    """
    folding = _Folding(sight, low, high)
    for span in spans(run):
        folding.add(run[span.start : span.end], span)
    return folding.end()


NOTHING = Sight({}, lambda growing: None, 0)


def still(run: bytes, now_ms: int) -> bytes:
    """The run without what is over."""
    return fold(run, NOTHING._replace(now_ms=now_ms))


def passed_over(
    first: int, last: int, last_ms: int, placed: Iterable[Growing], content: Callable[[Growing], bytes | None]
) -> bytes:
    """Tiles for a stretch in which every record grows a message. `placed` are those whose places are met, in order."""
    tiles: list[bytes] = []
    for growing in placed:
        held = content(growing)
        batch = b"" if held is None else folded_batch(growing, held)
        tiles.append(make_tile(first, growing.place, growing.time_ms, batch))
        first = growing.place + 1
    if first <= last:
        tiles.append(make_tile(first, last, last_ms, b""))
    return b"".join(tiles)


class _Folding:
    """One run on its way through. `_kept` are the batches of the tile that is being made, up to `_last`."""

    def __init__(self, sight: Sight, low: int, high: int) -> None:
        self._sight = sight
        self._low = low
        self._high = high
        self._done: list[bytes] = []
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._first = self._last = self._time_ms = 0
        self._gaps = False

    def add(self, batch: bytes, span: Span) -> None:
        if span.offset > self._high or span.last <= self._last or span.last < self._low:
            return
        if not self._last:
            self._last = max(span.offset, self._low) - 1
            self._first = self._last + 1
        for part, within in self._parts(batch, span):
            if within.last > self._last and within.offset <= self._high:
                self._keep(part, within)
        if self._last < (last := min(span.last, self._high)):
            self._pass(last, span.time_ms)

    def end(self) -> bytes:
        self._let_go()
        return b"".join(self._done)

    def _keep(self, part: bytes, span: Span) -> None:
        """A batch that is left; a gap before it goes with it."""
        bytes_max = TILE_BYTES if self._kept else _TILED_BYTES_MAX
        if self._kept_bytes + len(part) > bytes_max or span.last - self._first >= TILE_OFFSETS_MAX:
            self._let_go()
        if span.offset > self._last + 1:
            self._gaps = True
            if len(part) > _TILED_BYTES_MAX:
                self._pass(span.offset - 1, span.time_ms)
                self._let_go()
        self._first = min(self._first, span.offset)
        self._last, self._time_ms = span.last, span.time_ms
        self._kept.append(part)
        self._kept_bytes += len(part)

    def _pass(self, last: int, time_ms: int) -> None:
        """Nothing is left up to `last`."""
        if self._kept_bytes > _TILED_BYTES_MAX or last - self._first >= TILE_OFFSETS_MAX:
            self._let_go()
        self._gaps = True
        self._last, self._time_ms = last, time_ms

    def _let_go(self) -> None:
        """What has no gap needs no tile around it."""
        if self._last >= self._first and (self._kept or self._gaps):
            run = b"".join(self._kept)
            self._done.append(make_tile(self._first, self._last, self._time_ms, run) if self._gaps else run)
            self._first = self._last + 1
        self._kept = []
        self._kept_bytes = 0
        self._gaps = False

    # --- one batch ----------------------------------------------------------------------------------------

    def _parts(self, batch: bytes, span: Span) -> Iterator[tuple[bytes, Span]]:
        """What is left of a batch, in order."""
        if batch[KIND_AT] == KIND_RECORDS:
            yield batch, span
        elif batch[KIND_AT] == KIND_TILE:
            inner = tile_run(batch)
            for each in spans(inner):
                yield from self._parts(inner[each.start : each.end], each)
        else:
            for part in self._left(batch, span):
                yield part, next(spans(part))

    def _left(self, batch: bytes, span: Span) -> list[bytes]:
        labels = labels_of(batch)
        if not any(self._touches(label, span) for label in labels):
            return [batch]
        if self._is_passed(labels, span):
            return []
        records = read_records(batch)
        seen = [self._seen(record) for record in records]
        if all(each is record for each, record in zip(seen, records, strict=True)):
            return [batch]
        return _rejoined(seen)

    def _touches(self, label: Label, span: Span) -> bool:
        """Whether a record with this label may be seen otherwise than it lies there."""
        operation = label.operation
        if operation is None:
            return 0 < label.ttl_ms <= self._sight.now_ms - span.time_ms
        if operation.op is Op.OPEN:
            return bool(self._sight.growing)
        return operation.op in MESSAGE_OPS and operation.message in self._sight.growing

    def _is_passed(self, labels: Sequence[Label], span: Span) -> bool:
        """Whether all of it is one message's, and before that message's place: so is nearly every token."""
        operation = labels[0].operation
        if len(labels) > 1 or operation is None or operation.op is not Op.APPEND:
            return False
        growing = self._sight.growing.get(operation.message)
        return growing is not None and span.last < growing.place

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


def labels_of(batch: bytes) -> Sequence[Label]:
    """The label table of a batch of kind 0 or 1."""
    client_length, _, _, labels_length = _FRONT.unpack_from(batch, KIND_AT + 1)
    start = HEAD_BYTES + client_length
    return read_labels(batch[start : start + labels_length])


def _batches(run: bytes) -> Iterator[tuple[bytes, Span]]:
    """The batches of a run that hold records, those within tiles, too."""
    for span in spans(run):
        batch = run[span.start : span.end]
        if batch[KIND_AT] == KIND_TILE:
            yield from _batches(tile_run(batch))
        else:
            yield batch, span


def given(run: bytes, low: int = 0, high: int = _ALL) -> list[range]:
    """The offsets of the records that the run gives, in order, those from `low` to `high`."""
    return [range(max(span.offset, low), min(span.last, high) + 1) for _, span in _batches(run)]


def perishing(run: bytes) -> Perishing:
    """What of a run will be over some time."""
    found = Perishing()
    for batch, span in _batches(run):
        if batch[KIND_AT] == KIND_SESSION:
            ttls = [label.ttl_ms for label in labels_of(batch) if label.ttl_ms]
            if ttls:
                found = found.and_then(Perishing(span.offset, span.time_ms + min(ttls)))
    return found


def assemble(parts: Iterable[bytes], growing: Growing) -> bytes | None:
    """What a message holds, from runs of the log that reach from its base to its place and may overlap.

    None when either is not there.
    """
    content: bytearray | None = None
    reached = growing.base - 1
    for run in parts:
        for last, op, data in _pieces(run, growing):
            if last <= reached:
                continue
            reached = last
            if op in _ANEW:
                content = bytearray(data)
            elif content is None:
                return None
            elif op is Op.APPEND:
                content += data
    return bytes(content) if content is not None and reached == growing.place else None


def _pieces(run: bytes, growing: Growing) -> Iterator[tuple[int, Op, bytes]]:
    """What is done to a message from its base to its place: up to which offset, and with what data."""
    for batch, span in _batches(run):
        if batch[KIND_AT] == KIND_RECORDS or span.last < growing.base or span.offset > growing.place:
            continue
        common = common_record(batch) if span.last <= growing.place else None
        if common is not None and common.operation is not None and common.operation.op is Op.APPEND:
            # Tokens of one message, as nearly all are: taken together.
            if common.operation.message == growing.message:
                yield span.last, Op.APPEND, common.data
            continue
        for record in read_records(batch):
            operation = record.operation
            if operation is None or operation.op not in MESSAGE_OPS or record.offset > growing.place:
                continue
            if (operation.message or record.offset) == growing.message:
                yield record.offset, operation.op, record.data


_ANEW = frozenset({Op.OPEN, Op.FOLDED, Op.REPLACE, Op.REMOVE})
