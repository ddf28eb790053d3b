"""Making stored chunks smaller: closed messages folded, what is over left out. For the reading thread; decides nothing.

A piece of the log is rewritten at a time, from the end of what is to be folded towards its beginning: a message's
folded record is in the store before the first of its operations goes (PROTOCOL.md 4.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from outlast_protocol.batch import read_records, spans

from . import chunk, folded
from .chunk import MERGE_BYTES, Chunk, group_batches
from .fold import Sight, fold
from .folded import Seen
from .log import Log
from .session import Growing

# So much of the log is rewritten by one commit.
PIECE_BYTES = 4 << 20


class Wanted(NamedTuple):
    """Which part of a channel's chunks to rewrite, from `high` down to `low`, and how it is to be seen."""

    number: int
    low: int
    high: int
    growing: Mapping[int, Growing]
    now_ms: int


class Rewritten(NamedTuple):
    """Chunks that stand for the same offsets as those at `olds` did. `perishable_from` is the first record with a time
    to live that is left, 0: none."""

    olds: list[int]
    news: list[Chunk]
    perishable_from: int
    bytes_saved: int

    @property
    def first(self) -> int:
        return self.news[0].first

    @property
    def last(self) -> int:
        return self.news[-1].last


def rewrite_back(log: Log, wanted: Wanted, seen: Seen) -> Rewritten | None:
    """The last piece of what is wanted; None when it is not there any more."""
    found: list[Chunk] = []
    offset, size = wanted.high, 0
    while size < PIECE_BYTES:
        each = log.read_back(wanted.number, offset)
        if each is None or each.last < offset:
            break
        if each.last < wanted.low and len(each.batches) > MERGE_BYTES:
            break
        found.insert(0, each)
        size += len(each.batches)
        offset = each.first - 1
        if offset < wanted.low and len(each.batches) > MERGE_BYTES:
            break
    return _rewritten(log, wanted, seen, found) if found else None


def rewrite_on(log: Log, wanted: Wanted, seen: Seen) -> Rewritten | None:
    """The first piece of what is wanted; None when it is not there any more."""
    found = [each for each in log.read(wanted.number, wanted.low, PIECE_BYTES) if each.first <= wanted.high]
    return _rewritten(log, wanted, seen, found) if found else None


def _rewritten(log: Log, wanted: Wanted, seen: Seen, found: list[Chunk]) -> Rewritten:
    sight = Sight(wanted.growing, lambda growing: folded.content_of(log, seen, growing), wanted.now_ms)
    run = fold(b"".join(each.batches for each in found), sight)
    batches = [run[span.start : span.end] for span in spans(run)]
    news = [chunk.make(group) for group in group_batches(batches)]
    left = [record.offset for record in read_records(run) if record.ttl_ms]
    saved = sum(map(stored_bytes, found)) - sum(map(stored_bytes, news))
    return Rewritten([each.first for each in found], news, min(left, default=0), saved)


def stored_bytes(each: Chunk) -> int:
    return len(each.batches) + chunk.HEAD_BYTES
