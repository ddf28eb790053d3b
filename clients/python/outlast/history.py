"""What lies in a channel, fetched page by page (PROTOCOL.md 6.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from outlast_protocol import ProtocolError, frames
from outlast_protocol.batch import read_records
from outlast_protocol.position import OFFSET_MAX

from .errors import ConnectionLost, StaleEpoch, UnknownChannel, Violation
from .link import Life, Link
from .records import Record, from_store
from .starts import EARLIEST, Start

PAGE_RECORDS = 2_000


class Range(NamedTuple):
    """`before` and `before_epoch` bound it, None is no bound; `limit` records are wanted at most."""

    start: Start = EARLIEST
    before: int | None = None
    before_epoch: int | None = None
    limit: int | None = None


async def forwards(link: Link, name: str, wanted: Range) -> AsyncIterator[Record]:
    """From the start on, up to what was the last record when the first page was answered."""
    end, left = wanted.before or OFFSET_MAX, wanted.limit
    ask = frames.History(0, 0, **wanted.start._asdict())
    first_page = True
    while left is None or left > 0:
        page, life = await _fetch(link, name, ask._replace(limit=_size(link, left)))
        _check_epoch(wanted, life)
        _check_joint(page.low, None if ask.after is None else ask.after + 1, page)
        if first_page:
            first_page, end = False, min(end, page.last + 1)
        for record in _records(page, life):
            if record.offset >= end:
                return
            yield record
        if page.low > page.high or page.high + 1 >= end:
            return
        left = _less(left, page)
        ask = frames.History(0, 0, after=page.high, epoch=life.epoch)


async def backwards(link: Link, name: str, wanted: Range) -> AsyncIterator[Record]:
    """The newest first."""
    left = wanted.limit
    ask = frames.History(0, 0, before=wanted.before, epoch=wanted.before_epoch, backwards=True)
    newest: int | None = None
    while left is None or left > 0:
        page, life = await _fetch(link, name, ask._replace(limit=_size(link, left)))
        _check_joint(page.high, newest, page)
        for record in reversed(_records(page, life)):
            yield record
        if page.low > page.high or page.low <= page.first:
            return
        left = _less(left, page)
        ask = ask._replace(before=page.low, epoch=life.epoch)
        newest = page.low - 1


async def _fetch(link: Link, name: str, ask: frames.History) -> tuple[frames.Page, Life]:
    """One page; a connection that is lost or a number that died is not the caller's business."""
    while True:
        life = await link.find_channel(name)
        try:
            return await link.call(partial(_numbered, ask, life), frames.Page), life
        except ConnectionLost:
            continue
        except UnknownChannel:
            link.forget(name)


def _numbered(ask: frames.History, life: Life, request: int) -> frames.History:
    return ask._replace(request=request, number=life.number)


def _less(left: int | None, page: frames.Page) -> int | None:
    return None if left is None else left - (page.high - page.low + 1)


def _size(link: Link, left: int | None) -> int:
    most = min(PAGE_RECORDS, link.limits.get("page_records", PAGE_RECORDS))
    return most if left is None else min(most, left)


def _check_epoch(wanted: Range, life: Life) -> None:
    if wanted.before_epoch is not None and wanted.before_epoch != life.epoch:
        text = f"{wanted.before_epoch:016x} is not the channel's epoch"
        raise StaleEpoch(text, detail={"epoch": f"{life.epoch:016x}"})


def _check_joint(edge: int, expected: int | None, page: frames.Page) -> None:
    """Pages lie side by side: nothing may be missing between them (PROTOCOL.md 2.2)."""
    if expected is not None and page.low <= page.high and edge != expected:
        raise Violation(f"the page of history {page.low} to {page.high} leaves {expected} out")


def _records(page: frames.Page, life: Life) -> list[Record]:
    """Those that the page means. Raises Violation when one is missing."""
    try:
        stored = read_records(page.batches)
    except (ProtocolError, ValueError, LookupError) as error:
        raise Violation(f"a page of history cannot be read: {error}") from None
    records = [record for record in from_store(stored, life.epoch) if page.low <= record.offset <= page.high]
    if [record.offset for record in records] != list(range(page.low, page.high + 1)):
        raise Violation(f"a page of history says {page.low} to {page.high} and has {len(records)} of them")
    return records
