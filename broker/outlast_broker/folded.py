"""Reading the log folded: what the reading thread does for ATTACH, HISTORY and MESSAGE (PROTOCOL.md 6.10).

The loop hands over what it knows (`Seen`); the rest is read from the log, and may be damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from outlast_protocol.batch import read_records, spans

from . import pages
from .channel import Channel
from .damage import Damaged
from .fold import Sight, assemble, count, fold, folded_batch
from .log import Log
from .pages import Cut
from .session import Growing, Snapshot

# So much of the log is gone through for one page; the next page goes on there.
PAGE_READ_BYTES = 8 << 20
# So much is gone through to find where the last so many begin.
LAST_READ_BYTES = 64 << 20


class Seen(NamedTuple):
    """A channel as the loop saw it: its messages, and the part of its tail that may be needed."""

    number: int
    first: int
    snapshot: Snapshot
    tail: Sequence[bytes]
    now_ms: int

    @property
    def tail_first(self) -> int:
        """The offset where the tail begins; beyond `through` when there is none."""
        return next(spans(self.tail[0])).offset if self.tail else self.snapshot.through + 1


def see(channel: Channel, snapshot: Snapshot, low: int, bytes_max: int, now_ms: int) -> Seen:
    """What is needed to read about `bytes_max` from `low` on: messages that are not in memory may begin before."""
    lacking = [each.base for each in snapshot.growing.values() if each.message not in snapshot.contents]
    start = min([low, *lacking])
    tail: Sequence[bytes] = ()
    if channel.tail:
        tail = channel.tail_from(max(start, channel.tail_firsts[0]), NO_BOUND if lacking else bytes_max)
    return Seen(channel.number, channel.first, snapshot, tail, now_ms)


def forwards(log: Log, seen: Seen, low: int, bytes_max: int) -> bytes:
    """A run from the batch that holds `low` on, folded: about `bytes_max` of the log, up to `through`."""
    parts: list[bytes] = []
    size = 0
    for run in _runs(log, seen, low, bytes_max):
        parts.append(run)
        size += len(run)
        if size >= bytes_max:
            break
    cut = pages.cut_through(b"".join(parts), low, seen.snapshot.through)
    return fold(cut, _sight(log, seen))


def page_on(log: Log, seen: Seen, low: int, limit: int) -> Cut:
    """A page of `limit` records at most, from `low` on."""
    through = seen.snapshot.through
    run = forwards(log, seen, low, PAGE_READ_BYTES)
    cut = pages.forwards([run], low, through)
    given = [record.offset for record in read_records(cut.batches) if low <= record.offset <= cut.high]
    return cut._replace(high=given[limit - 1]) if len(given) > limit else cut


def page_last(log: Log, seen: Seen, last: int, limit: int) -> Cut:
    """As `page_on`, from where the last `last` records begin."""
    return page_on(log, seen, after_last(log, seen, last) + 1, limit)


def page_back(log: Log, seen: Seen, high: int, limit: int) -> Cut:
    """A page of the last `limit` records up to `high`, or as many of them as it holds."""
    low, run = _back(log, seen, high, limit, PAGE_READ_BYTES)
    cut = pages.backwards([run], low, high)
    given = [record.offset for record in read_records(cut.batches) if cut.low <= record.offset <= high]
    return cut._replace(low=given[-limit]) if len(given) >= limit else cut


def after_last(log: Log, seen: Seen, limit: int) -> int:
    """The offset after which the last `limit` records come, or as many as there are."""
    low, run = _back(log, seen, seen.snapshot.through, limit, LAST_READ_BYTES)
    given = [record.offset for record in read_records(run) if record.offset >= low]
    return (given[-limit] if len(given) >= limit else low) - 1


def message_page(log: Log, seen: Seen, growing: Growing) -> Cut | None:
    """One message as it stands; None when its beginning is past retention."""
    content = content_of(log, seen, growing)
    if content is None:
        return None
    return Cut(growing.message, growing.place, folded_batch(growing, content))


def _sight(log: Log, seen: Seen) -> Sight:
    return Sight(seen.snapshot.growing, lambda growing: content_of(log, seen, growing), seen.now_ms)


def content_of(log: Log, seen: Seen, growing: Growing) -> bytes | None:
    """What a message holds as of its place; None when that cannot be had any more. Raises Damaged."""
    known = seen.snapshot.contents.get(growing.message)
    if known is not None:
        content, length = known
        return bytes(content[:length])
    try:
        return assemble(_runs(log, seen, growing.base, pages.PAGE_BYTES, growing.place), growing)
    except Hole:
        return None


class Hole(Damaged):
    """A record is not there. Retention may have been there first: then it is no damage."""


def _runs(log: Log, seen: Seen, low: int, bytes_max: int, high: int | None = None) -> Iterator[bytes]:
    """Runs of the log from the batch that holds `low` on, chunks first, then the tail. Raises Hole and Damaged."""
    high = seen.snapshot.through if high is None else high
    while low < seen.tail_first and low <= high:
        chunks = log.read(seen.number, low, bytes_max)
        if not chunks or chunks[0].first > low:
            raise Hole(f"channel number {seen.number} has no record {low}")
        for chunk in chunks:
            yield chunk.since(low)
            low = chunk.last + 1
    for batch in seen.tail:
        span = next(spans(batch))
        if span.last >= low and span.offset <= high:
            yield batch


def _back(log: Log, seen: Seen, high: int, limit: int, bytes_max: int) -> tuple[int, bytes]:
    """A folded run that ends with the batch of `high`, of `limit` records or `bytes_max` of the log, behind its low end."""
    parts: list[bytes] = []
    low, given, size = high + 1, 0, 0
    for first, run in _runs_back(log, seen, high):
        folded = fold(pages.cut_through(run, first, high), _sight(log, seen))
        parts.append(folded)
        low, given, size = max(first, seen.first), given + count(folded), size + len(run)
        if given >= limit or size >= bytes_max:
            break
    return low, b"".join(reversed(parts))


def _runs_back(log: Log, seen: Seen, high: int) -> Iterator[tuple[int, bytes]]:
    """Runs and where they begin, the last one first: the tail a slice at a time, then chunks."""
    tail = [batch for batch in seen.tail if next(spans(batch)).offset <= high]
    while tail:
        together = tail[-TAIL_BATCHES:]
        del tail[-TAIL_BATCHES:]
        first = next(spans(together[0])).offset
        yield first, b"".join(together)
        high = first - 1
    while high >= seen.first:
        chunk = log.read_back(seen.number, high)
        if chunk is None or chunk.last < high:
            raise Hole(f"channel number {seen.number} has no record {high}")
        yield chunk.first, chunk.batches
        high = chunk.first - 1


NO_BOUND = 1 << 62
# Batches of the tail that are folded at a time on the way back.
TAIL_BATCHES = 256
