"""Making stored chunks smaller: closed messages folded, what is over left out. For the reading thread; decides nothing.

A piece of the log is rewritten at a time, from the end of what is to be folded towards its beginning: a message's
folded record is in the store before the first of its operations goes (PROTOCOL.md 4.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from outlast_protocol.batch import spans

from . import chunk, folded
from .chunk import MERGE_BYTES, Chunk, group_batches
from .damage import Damaged
from .fold import NOTHING, Sight, fold, perishing
from .folded import Seen
from .log import Log
from .session import Growing
from .sweep import Perishing

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
    """Offsets `first` to `last` were gone through: the chunks at `olds` are replaced by `news`, for the same offsets.

    `left` is what has a time to live and is not over yet.
    """

    first: int
    last: int
    olds: list[int]
    news: list[Chunk]
    left: Perishing
    bytes_saved: int


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
    sight = Sight(wanted.growing, lambda growing: _content(log, seen, growing), wanted.now_ms)
    runs = [fold(each.batches, sight) for each in found]
    olds: list[Chunk] = []
    news: list[Chunk] = []
    for stretch in _changed(found, runs):
        olds += [found[index] for index in stretch]
        news += _chunks(b"".join(runs[index] for index in stretch))
    left = perishing(b"".join(runs))
    saved = sum(map(stored_bytes, olds)) - sum(map(stored_bytes, news))
    firsts = [each.first for each in olds]
    return Rewritten(found[0].first, found[-1].last, firsts, news, left, saved)


def _content(log: Log, seen: Seen, growing: Growing) -> bytes:
    """What is not found must not be erased either: nobody knows why."""
    content = folded.content_of(log, seen, growing)
    if content is None:
        raise Damaged(f"message {growing.message} of channel number {seen.number} is not as it was left")
    return content


def _changed(found: list[Chunk], runs: list[bytes]) -> list[list[int]]:
    """Stretches of chunks to be written anew: those that changed, with neighbours that are small."""
    stretches: list[list[int]] = [[]]
    for index, (each, run) in enumerate(zip(found, runs, strict=True)):
        if run != each.batches or len(run) <= MERGE_BYTES:
            stretches[-1].append(index)
        else:
            stretches.append([])
    return [each for each in stretches if any(runs[index] != found[index].batches for index in each)]


def _chunks(run: bytes) -> list[Chunk]:
    """The run as chunks, its tiles joined."""
    tidy = fold(run, NOTHING)
    return [chunk.make(group) for group in group_batches([tidy[span.start : span.end] for span in spans(tidy)])]


def stored_bytes(each: Chunk) -> int:
    return len(each.batches) + chunk.HEAD_BYTES
