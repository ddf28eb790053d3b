"""Reading the log folded: what the reading thread does for ATTACH, HISTORY and MESSAGE (PROTOCOL.md 6.10).

The loop hands over what it knows (`Seen`); the rest is read from the log, and may be damaged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from outlast_protocol.batch import read_records, spans

from . import pages
from .channel import Channel
from .damage import Damaged
from .fold import Sight, assemble, count, fold, folded_batch, passed_over
from .log import Log
from .pages import Cut
from .session import Growing, Snapshot
from .stretches import Stretch

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
        return _first(self.tail[0]) if self.tail else self.snapshot.through + 1


def see(channel: Channel, snapshot: Snapshot, low: int, now_ms: int, bytes_max: int | None = None) -> Seen:
    """What is needed to read about `bytes_max` from `low` on: messages that are not in memory may begin before."""
    lacking = [each.base for each in snapshot.growing.values() if each.message not in snapshot.contents]
    tail: Sequence[bytes] = ()
    if bytes_max is None or lacking:
        tail = channel.tail_since(min([low, *lacking]))
    elif channel.tail:
        tail = channel.tail_from(max(low, channel.tail_firsts[0]), bytes_max)
    return Seen(channel.number, channel.first, snapshot, tail, now_ms)


def forwards(log: Log, seen: Seen, low: int, bytes_max: int) -> bytes:
    """A run from the batch that holds `low` on, folded: about `bytes_max` of the log, up to `through`."""
    parts: list[bytes] = []
    size, through, sight = 0, seen.snapshot.through, _sight(log, seen)
    while low <= through and size < bytes_max:
        stretch = next((each for each in seen.snapshot.stretches if each.last >= low), None)
        if stretch is not None and stretch.first <= low:
            high = min(stretch.last, through)
            parts.append(passed_over(low, high, stretch.last_ms, sight))
            size += len(parts[-1])
        else:
            high = through if stretch is None else min(stretch.first - 1, through)
            run = _run(log, seen, low, high, bytes_max - size)
            parts.append(fold(run, sight))
            high = _last(run)
            size += len(run)
        low = high + 1
    return b"".join(parts)


def _run(log: Log, seen: Seen, low: int, high: int, bytes_max: int) -> bytes:
    """The batches that hold something of `low` to `high`, about `bytes_max` of them."""
    parts: list[bytes] = []
    size = 0
    for run in _runs(log, seen, low, bytes_max, high):
        parts.append(run)
        size += len(run)
        if size >= bytes_max:
            break
    return pages.cut_through(b"".join(parts), low, high)


def _last(run: bytes) -> int:
    return max(span.last for span in spans(run))


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
    for batch in seen.tail[max(bisect_right(seen.tail, low, key=_first) - 1, 0) :]:
        span = next(spans(batch))
        if span.offset > high:
            break
        if span.last >= low:
            yield batch


def _first(batch: bytes) -> int:
    return next(spans(batch)).offset


def _back(log: Log, seen: Seen, high: int, limit: int, bytes_max: int) -> tuple[int, bytes]:
    """A folded run up to `high`, of `limit` records or `bytes_max` of the log, behind the offset where it begins."""
    parts: list[bytes] = []
    low, given, size, sight = high + 1, 0, 0, _sight(log, seen)
    for first, run, stretch in _runs_back(log, seen, high):
        if stretch is None:
            folded = fold(pages.cut_through(run, first, low - 1), sight)
        else:
            folded = passed_over(first, low - 1, stretch.last_ms, sight)
        parts.append(folded)
        low, given, size = max(first, seen.first), given + count(folded), size + len(run)
        if given >= limit or size >= bytes_max:
            break
    return low, b"".join(reversed(parts))


def _runs_back(log: Log, seen: Seen, high: int) -> Iterator[tuple[int, bytes, Stretch | None]]:
    """Runs and where they begin, or stretches to be passed over, the last one first."""
    while high >= seen.first:
        stretch = next((each for each in reversed(seen.snapshot.stretches) if each.first <= high), None)
        if stretch is not None and stretch.last >= high:
            first = stretch.first
            yield first, b"", stretch
        elif high >= seen.tail_first:
            first, run = _tail_back(seen, high)
            yield first, run, None
        else:
            chunk = log.read_back(seen.number, high)
            if chunk is None or chunk.last < high:
                raise Hole(f"channel number {seen.number} has no record {high}")
            first = chunk.first
            yield first, chunk.batches, None
        high = first - 1


def _tail_back(seen: Seen, high: int) -> tuple[int, bytes]:
    """A slice of the tail up to the batch that holds `high`, and where it begins."""
    end = bisect_right(seen.tail, high, key=_first)
    together = seen.tail[max(end - TAIL_BATCHES, 0) : end]
    return _first(together[0]), b"".join(together)


# Batches of the tail that are folded at a time on the way back.
TAIL_BATCHES = 256
