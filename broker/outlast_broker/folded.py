"""Reading the log folded: what the reading thread does for ATTACH, HISTORY and MESSAGE (PROTOCOL.md 6.10).

The loop hands over what it knows (`Seen`); the rest is read from the log, and may be damaged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from outlast_protocol.batch import spans

from . import pages
from .channel import Channel
from .damage import Damaged
from .fold import NOTHING, Sight, assemble, fold, folded_batch, given, passed_over, perishing, still
from .log import Log
from .pages import PAGE_BYTES, Cut
from .session import Growing, Snapshot
from .stretches import Stretch

# So much of the log is gone through for one page; the next page goes on there.
PAGE_READ_BYTES = 8 << 20
# So much is gone through to find where the last so many begin.
LAST_READ_BYTES = 64 << 20
# So much is gone through at a time, before it is asked whether that is enough.
STEP_BYTES = 1 << 18


class Hole(Damaged):
    """A record is not there. Retention may have been there first: then it is no damage."""


class Seen(NamedTuple):
    """A channel as the loop saw it: its messages that can be given whole, and the part of its tail that may be needed.

    `contents` are in memory, and only grow at their end: so much of them counts. `learned` is what the reading thread
    had to put together, for `remember`.
    """

    number: int
    first: int
    through: int
    growing: Mapping[int, Growing]
    contents: Mapping[int, tuple[bytearray, int]]
    stretches: Sequence[Stretch]
    tail: Sequence[bytes]
    now_ms: int
    perishable: bool
    learned: dict[int, bytes]

    @property
    def tail_first(self) -> int:
        """The offset where the tail begins; beyond `through` when there is none."""
        return _first(self.tail[0]) if self.tail else self.through + 1

    def sight(self, log: Log) -> Sight:
        return Sight(self.growing, lambda growing: content_of(log, self, growing), self.now_ms)


def see(channel: Channel, snapshot: Snapshot, low: int, now_ms: int, bytes_max: int | None = None) -> Seen:
    """What is needed to read about `bytes_max` from `low` on: messages that are not in memory may begin before."""
    contents = {} if channel.session is None else channel.session.contents_of(snapshot.growing)
    first, known = channel.first, snapshot.growing
    growing = {key: each for key, each in known.items() if each.base >= first or key in contents}
    stretches = snapshot.stretches if len(growing) == len(known) else ()
    lacking = [each.base for key, each in growing.items() if key not in contents]
    tail: Sequence[bytes] = ()
    if bytes_max is None or lacking:
        tail = channel.tail_since(min([low, *lacking]))
    elif channel.tail:
        tail = channel.tail_from(max(_met_from(stretches, low), channel.tail_firsts[0]), bytes_max)
    through, perishable = snapshot.through, channel.perishable
    return Seen(channel.number, first, through, growing, contents, stretches, tail, now_ms, perishable, {})


def remember(channel: Channel, seen: Seen) -> None:
    """What had to be put together for one reader is there for the next: after a start all of them come at once."""
    for message, content in seen.learned.items():
        if channel.session is not None:
            channel.session.learn(seen.growing[message], content)


def _met_from(stretches: Sequence[Stretch], low: int) -> int:
    """The first offset from `low` on that is not passed over."""
    stretch = _stretch_from(stretches, low)
    return low if stretch is None or stretch.first > low else stretch.last + 1


# --- forwards ---------------------------------------------------------------------------------------------


def forwards(log: Log, seen: Seen, low: int, bytes_max: int) -> Cut:
    """A run from `low` on, folded: about `bytes_max` of the log, up to `through`. Raises Hole and Damaged."""
    parts: list[bytes] = []
    high, size = low - 1, 0
    for step in _steps(log, seen, low, bytes_max):
        parts.append(step.folded)
        high, size = step.last, size + step.size
        if size >= bytes_max:
            break
    if not parts:
        raise Hole(f"channel number {seen.number} has no record {low}")
    return _cut(seen, low, high, b"".join(parts))


def page_on(log: Log, seen: Seen, low: int, limit: int) -> Cut:
    """A page of `limit` records at most, from `low` on."""
    parts: list[bytes] = []
    offsets: list[range] = []
    size = held = count = 0
    for step in _steps(log, seen, low, STEP_BYTES):
        parts.append(step.folded)
        offsets += given(step.folded, low)
        size, held, count = size + step.size, held + len(step.folded), sum(map(len, offsets))
        if size >= PAGE_READ_BYTES or held >= PAGE_BYTES or count > limit:
            break
    cut = pages.forwards(parts, low, seen.through)
    high = min(nth(offsets, limit) if count > limit else cut.high, cut.high)
    return _cut(seen, low, high, _within(cut.batches, low, high))


def page_last(log: Log, seen: Seen, last: int, limit: int) -> Cut:
    """As `page_on`, from where the last `last` records begin."""
    return page_on(log, seen, after_last(log, seen, last) + 1, limit)


class _Step(NamedTuple):
    """Some of the log as it is seen, up to offset `last`, or from `first` on; `size` bytes were gone through for it."""

    first: int
    last: int
    folded: bytes
    size: int


def _steps(log: Log, seen: Seen, low: int, bytes_max: int) -> Iterator[_Step]:
    """From `low` on, about `bytes_max` at a time, as far as the tail was handed over."""
    sight, through = seen.sight(log), seen.through
    placed = sorted(seen.growing.values(), key=_place)
    while low <= through:
        stretch = _stretch_from(seen.stretches, low)
        if stretch is not None and stretch.first <= low:
            high, taken = _first_of(placed, low, min(stretch.last, through), bytes_max)
            folded = passed_over(low, high, stretch.last_ms, taken, sight.content)
            yield _Step(low, high, folded, len(folded))
        else:
            high = through if stretch is None else min(stretch.first - 1, through)
            run = _run(log, seen, low, high, bytes_max)
            if not run:
                return
            high = _last(run)
            yield _Step(low, high, fold(run, sight, low), len(run))
        low = high + 1


def _first_of(placed: Sequence[Growing], low: int, high: int, bytes_max: int) -> tuple[int, Sequence[Growing]]:
    """The messages whose places are met first, about `bytes_max` of them, and up to where that goes."""
    start, end = bisect_left(placed, low, key=_place), bisect_right(placed, high, key=_place)
    fitting = start + 1 + bisect_right(list(accumulate(each.size for each in placed[start:end])), bytes_max)
    taken = placed[start : min(end, fitting)]
    return (high if fitting >= end else taken[-1].place), taken


def _stretch_from(stretches: Sequence[Stretch], low: int) -> Stretch | None:
    """The first that ends at `low` or later."""
    index = bisect_left(stretches, low, key=lambda each: each.last)
    return stretches[index] if index < len(stretches) else None


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


def _runs(log: Log, seen: Seen, low: int, bytes_max: int, high: int) -> Iterator[bytes]:
    """Runs of the log from the batch that holds `low` on, chunks first, then the tail. Raises Hole and Damaged."""
    while low < seen.tail_first and low <= high:
        chunks = log.read(seen.number, low, bytes_max)
        if not chunks:
            raise Hole(f"channel number {seen.number} has no record {low}")
        for chunk in chunks:
            if chunk.first > low:
                raise Hole(f"channel number {seen.number} has no record {low}")
            yield chunk.since(low)
            low = chunk.last + 1
    for batch in seen.tail[max(bisect_right(seen.tail, low, key=_first) - 1, 0) :]:
        span = next(spans(batch))
        if span.offset > high:
            break
        if span.last >= low:
            yield batch


# --- backwards --------------------------------------------------------------------------------------------


def page_back(log: Log, seen: Seen, high: int, limit: int) -> Cut:
    """A page of the last `limit` records up to `high`, or as many of them as it holds."""
    parts: list[bytes] = []
    offsets: list[range] = []
    size = held = 0
    for step in _steps_back(log, seen, high, limit):
        parts.insert(0, step.folded)
        offsets = given(step.folded, seen.first, high) + offsets
        size, held = size + step.size, held + len(step.folded)
        if size >= PAGE_READ_BYTES or held >= PAGE_BYTES or sum(map(len, offsets)) >= limit:
            break
    low, count = max(step.first, seen.first), sum(map(len, offsets))
    cut = pages.backwards(parts, low, high)
    if count > limit:
        low = nth(offsets, count - limit + 1)
    low = max(low, cut.low)
    return _cut(seen, low, high, _within(cut.batches, low, high))


def after_last(log: Log, seen: Seen, limit: int) -> int:
    """The offset after which the last `limit` records come, or as many as there are."""
    low, count, size = seen.through + 1, 0, 0
    for step in _steps_back(log, seen, seen.through, limit):
        offsets = given(step.folded, seen.first)
        size, met = size + step.size, sum(map(len, offsets))
        if count + met >= limit:
            return nth(offsets, count + met - limit + 1) - 1
        low, count = max(step.first, seen.first), count + met
        if size >= LAST_READ_BYTES:
            break
    return low - 1


def _steps_back(log: Log, seen: Seen, high: int, limit: int) -> Iterator[_Step]:
    """From `high` back to the channel's first record. Raises Hole and Damaged."""
    sight = seen.sight(log)
    placed = sorted(seen.growing.values(), key=_place)
    while high >= seen.first:
        stretch = _stretch_back(seen.stretches, high)
        if stretch is not None and stretch.last >= high:
            low, taken = _last_of(placed, max(stretch.first, seen.first), high, limit)
            folded = passed_over(low, high, stretch.last_ms, taken, sight.content)
            yield _Step(low, high, folded, len(folded))
        else:
            low, run = _tail_back(seen, high) if high >= seen.tail_first else _chunk_back(log, seen, high)
            yield _Step(low, high, fold(run, sight, low, high), len(run))
        high = low - 1


def _last_of(placed: Sequence[Growing], low: int, high: int, limit: int) -> tuple[int, Sequence[Growing]]:
    """The messages whose places are met last, up to `limit` and about STEP_BYTES, and from where on they are."""
    start, end = bisect_left(placed, low, key=_place), bisect_right(placed, high, key=_place)
    sizes = list(accumulate(each.size for each in reversed(placed[start:end])))
    taken = min(limit, 1 + bisect_right(sizes, STEP_BYTES))
    if taken >= end - start:
        return low, placed[start:end]
    return placed[end - taken - 1].place + 1, placed[end - taken : end]


def _stretch_back(stretches: Sequence[Stretch], high: int) -> Stretch | None:
    """The last that begins at `high` or before."""
    index = bisect_right(stretches, high, key=lambda each: each.first)
    return stretches[index - 1] if index else None


def _chunk_back(log: Log, seen: Seen, high: int) -> tuple[int, bytes]:
    """The chunk that holds `high`, and where it begins."""
    chunk = log.read_back(seen.number, high)
    if chunk is None or chunk.last < high:
        raise Hole(f"channel number {seen.number} has no record {high}")
    return chunk.first, chunk.batches


def _tail_back(seen: Seen, high: int) -> tuple[int, bytes]:
    """A slice of the tail up to the batch that holds `high`, and where it begins."""
    start = end = bisect_right(seen.tail, high, key=_first)
    size = 0
    while start and size < STEP_BYTES:
        start -= 1
        size += len(seen.tail[start])
    return _first(seen.tail[start]), b"".join(seen.tail[start:end])


# --- one message ------------------------------------------------------------------------------------------


def message_page(log: Log, seen: Seen, growing: Growing) -> Cut | None:
    """One message as it stands; None when it went on, and is folded further along."""
    content = content_of(log, seen, growing)
    if content is None:
        return None
    return Cut(growing.message, growing.place, folded_batch(growing, content))


def content_of(log: Log, seen: Seen, growing: Growing) -> bytes | None:
    """What a message holds as of its place; None when that cannot be had any more. Raises Hole and Damaged."""
    known = seen.contents.get(growing.message)
    if known is not None:
        there, length = known
        return bytes(there[:length])
    bytes_max = PAGE_BYTES if growing.base < growing.place else 1
    content = assemble(_runs(log, seen, growing.base, bytes_max, growing.place), growing)
    if content is not None and growing.message in seen.growing:
        seen.learned[growing.message] = content
    return content


# --- small help -------------------------------------------------------------------------------------------


def current(cut: Cut, now_ms: int) -> bytes:
    """What was read some time ago, without what is over by now."""
    return still(cut.batches, now_ms) if 0 < cut.over_ms <= now_ms else cut.batches


def nth(offsets: Sequence[range], count: int) -> int:
    """The offset of the record that comes as the `count`-th, from 1 on."""
    for each in offsets:
        if count <= len(each):
            return each[count - 1]
        count -= len(each)
    raise IndexError("there are not so many records")


def _within(run: bytes, low: int, high: int) -> bytes:
    """What of a folded run is meant, and nothing more of a tile."""
    return fold(run, NOTHING, low, high)


def _cut(seen: Seen, low: int, high: int, batches: bytes) -> Cut:
    return Cut(low, high, batches, perishing(batches).over_ms if seen.perishable else 0)


def _first(batch: bytes) -> int:
    return next(spans(batch)).offset


def _last(run: bytes) -> int:
    return max(span.last for span in spans(run))


def _place(growing: Growing) -> int:
    return growing.place
