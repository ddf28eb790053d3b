"""Where a reader starts, and what a page of history holds (PROTOCOL.md 6.5, 6.7). Pure but for the reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from outlast_protocol import ErrorCode, Position, ProtocolError
from outlast_protocol.batch import HEAD_BYTES, KIND_AT, KIND_TILE, Span, spans
from outlast_protocol.frames import Attach, History, Subscribe
from outlast_protocol.limits import FRAME_BYTES_MAX

from .channel import Channel
from .chunk import Chunk
from .damage import Damaged
from .log import Log

PAGE_BYTES = FRAME_BYTES_MAX - 64


class Start(NamedTuple):
    """Go on after offset `after`; `resync` says why that is not what was asked, if it is not."""

    after: int
    resync: str | None = None


def check_start(frame: Subscribe | Attach | History) -> None:
    """Refuses a request that does not say exactly one place to start from."""
    given = [each for each in (frame.after, frame.start, frame.last, frame.since_ms) if each is not None]
    if len(given) != 1 or frame.start not in (None, "earliest", "latest"):
        text = 'give exactly one of after, start ("earliest" or "latest"), last and since_ms'
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if frame.epoch is not None and frame.after is None:
        raise ProtocolError(ErrorCode.BAD_BODY, "epoch says which life `after` is in; it goes with nothing else")


def start_at(channel: Channel, frame: Subscribe | Attach | History) -> Start:
    """Where a checked request starts, unless it asks for a time."""
    if frame.start == "earliest":
        return Start(channel.first - 1)
    if frame.start == "latest":
        return Start(channel.last)
    if frame.last is not None:
        return Start(max(channel.last - frame.last, channel.first - 1))
    assert frame.after is not None, "check_start let a request pass that names no start"
    if frame.epoch is not None and frame.epoch != channel.epoch:
        return Start(channel.first - 1, "recreated")
    if frame.after > channel.last:
        text = f"offset {frame.after} is ahead of the last one, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
    return after_offset(channel, frame.after)


def after_offset(channel: Channel, offset: int) -> Start:
    """Behind an offset that this life of the channel has reached."""
    return Start(offset) if offset >= channel.first - 1 else Start(channel.first - 1, "trimmed")


def refuse_resync(channel: Channel, start: Start, asked: int | None) -> None:
    """History has no live part to go on with, so it refuses where a subscription would resync."""
    if start.resync == "recreated":
        raise stale_epoch(channel)
    if start.resync == "trimmed":
        text = f"record {(asked or 0) + 1} is past retention; the first one kept is {channel.first}"
        raise ProtocolError(ErrorCode.TRIMMED, text, first=channel.first)


def stale_epoch(channel: Channel) -> ProtocolError:
    epoch = str(Position(channel.epoch, 0)).partition(":")[0]
    return ProtocolError(ErrorCode.STALE_EPOCH, f"the channel now lives in epoch {epoch}", epoch=epoch)


def after_time(batches: bytes, time_ms: int) -> int:
    """The offset before the first batch that is not older; the run is known to end no sooner."""
    span = next(span for span in spans(batches) if span.time_ms >= time_ms)
    if batches[span.start + KIND_AT] != KIND_TILE:
        return span.offset - 1
    inner = spans(batches[span.start : span.end], HEAD_BYTES)
    return next((each.offset - 1 for each in inner if each.time_ms >= time_ms), span.last)


class Cut(NamedTuple):
    """A page's batches, and the records low to high that are meant; when the first of them is over, 0: never."""

    low: int
    high: int
    batches: bytes
    over_ms: int = 0


def forwards(parts: Iterable[bytes], low: int, high: int) -> Cut:
    """Of runs of batches that begin at or before `low`: up to `high`, as far as a page holds."""
    run = b"".join(parts)
    start = end = reached = 0
    for span in spans(run):
        if span.last < low:
            start = end = span.end
        elif span.offset > high or (span.end - start > PAGE_BYTES and end > start):
            break
        else:
            end, reached = span.end, span.last
    return Cut(low, min(high, reached), run[start:end])


def backwards(parts: Iterable[bytes], low: int, high: int) -> Cut:
    """Of runs of batches that reach `high` or beyond: from `high` down to `low`, as far as a page holds."""
    run = b"".join(parts)
    kept: list[Span] = []
    for span in reversed(list(spans(run))):
        if span.last < low or (kept and kept[0].end - span.start > PAGE_BYTES):
            break
        if span.offset <= high:
            kept.append(span)
    if not kept:
        return Cut(high + 1, high, b"")
    return Cut(max(low, kept[-1].offset), high, run[kept[-1].start : kept[0].end])


def cut_through(run: bytes, low: int, high: int) -> bytes:
    """The batches of a run that hold something of `low` to `high`."""
    within = [span for span in spans(run) if span.last >= low and span.offset <= high]
    return run[within[0].start : within[-1].end] if within else b""


def find_time(log: Log, number: int, time_ms: int) -> Chunk | None:
    return log.find_time(number, time_ms)


def read_on(log: Log, number: int, low: int, high: int) -> list[bytes]:
    """Runs of batches from the one that holds `low` on. Raises Damaged when it is not there."""
    chunks = log.read(number, low, PAGE_BYTES)
    if not chunks or chunks[0].first > low:
        raise Damaged(f"channel number {number} has no record {low}")
    return [chunk.batches for chunk in chunks if chunk.first <= high]


def read_back(log: Log, number: int, low: int, high: int) -> list[bytes]:
    """Runs of batches that hold low to high, or the last PAGE_BYTES of them. Raises Damaged at a hole."""
    runs: list[bytes] = []
    offset, size = high, 0
    while offset >= low and size < PAGE_BYTES:
        chunk = log.read_back(number, offset)
        if chunk is None or chunk.last < offset:
            raise Damaged(f"channel number {number} has no record {offset}")
        if chunk.last > offset and runs:
            # The store was folded meanwhile, and this chunk holds something of the one after it.
            runs, offset, size = [], high, 0
            continue
        runs.insert(0, chunk.batches)
        size += len(chunk.batches)
        offset = chunk.first - 1
    return runs
