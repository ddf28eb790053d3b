"""What lies in a channel, fetched page by page (PROTOCOL.md 6.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

from outlast_protocol import ProtocolError, Record as StoredRecord, frames
from outlast_protocol.batch import read_records, spans
from outlast_protocol.operations import Op
from outlast_protocol.position import OFFSET_MAX
from outlast_protocol.session_frames import Message as MessageFrame

from .errors import ConnectionLost, StaleEpoch, UnknownChannel, Violation
from .growing import Assembly, GrowingMessage
from .link import Life, Link
from .records import Record, from_store
from .starts import EARLIEST, Start

PAGE_RECORDS = 2_000


class Range(NamedTuple):
    """`before` and `before_epoch` bound it, None is no bound; `limit` records are wanted at most.

    `fold`: each growing message is one record, at the place that it has when its page is made.
    """

    start: Start = EARLIEST
    before: int | None = None
    before_epoch: int | None = None
    limit: int | None = None
    fold: bool = False


class _Scope:
    """Which records belong to a history that goes forwards: those below `end`, each message once.

    A message that goes on while pages are fetched is beyond `end` when its page is made. It was there, so it is given;
    `follows` says that pages are fetched until all such have been met.
    """

    def __init__(self, wanted: Range) -> None:
        self.end = wanted.before or OFFSET_MAX
        self.follows = wanted.fold and wanted.before is None
        self._folds = wanted.fold
        self._given: set[int] = set()

    def takes(self, record: Record) -> bool:
        operation = record.operation
        if not self._folds or operation is None or operation.op is not Op.FOLDED:
            return record.offset < self.end
        beginning = operation.message if self.follows else record.offset
        if operation.message in self._given or beginning >= self.end:
            return False
        self._given.add(operation.message)
        return True

    def is_read(self, page: frames.Page) -> bool:
        if page.low > page.high:
            return True
        return page.high + 1 >= (page.last + 1 if self.follows else self.end)


async def forwards(link: Link, name: str, wanted: Range) -> AsyncIterator[Record]:
    """From the start on, up to what was the last record when the first page was answered."""
    scope, left = _Scope(wanted), wanted.limit
    ask = frames.History(0, 0, **wanted.start._asdict(), fold=wanted.fold)
    first_page = True
    while left is None or left > 0:
        page, life = await _fetch(link, name, ask._replace(limit=_size(link, left)))
        check_life(wanted.before_epoch, life)
        _check_joint(page.low, None if ask.after is None else ask.after + 1, page)
        if first_page:
            first_page, scope.end = False, min(scope.end, page.last + 1)
        records = [record for record in _records(page, life) if scope.takes(record)]
        for record in records:
            yield record
        if scope.is_read(page):
            return
        left = None if left is None else left - len(records)
        ask = frames.History(0, 0, after=page.high, epoch=life.epoch, fold=wanted.fold)


async def backwards(link: Link, name: str, wanted: Range) -> AsyncIterator[Record]:
    """The newest first."""
    left = wanted.limit
    ask = frames.History(0, 0, before=wanted.before, epoch=wanted.before_epoch, backwards=True, fold=wanted.fold)
    newest: int | None = None
    while left is None or left > 0:
        page, life = await _fetch(link, name, ask._replace(limit=_size(link, left)))
        _check_joint(page.high, newest, page)
        records = _records(page, life)
        for record in reversed(records):
            yield record
        if page.low > page.high or page.low <= page.first:
            return
        left = None if left is None else left - len(records)
        ask = ask._replace(before=page.low, epoch=life.epoch)
        newest = page.low - 1


async def fetch_message(link: Link, name: str, message: int, epoch: int | None) -> GrowingMessage:
    """A growing message as it stands (PROTOCOL.md 6.10). Raises UnknownMessage, UnknownChannel, StaleEpoch."""
    page, life = await _ask(link, name, lambda life: partial(_about, life, message), epoch)
    for record in from_store(_read(page), life.epoch):
        change = Assembly().feed(record)
        if change is not None and change.message.id == message:
            return change.message
    raise Violation(f"asked for message {message}, got a page without it")


def _about(life: Life, message: int, request: int) -> MessageFrame:
    return MessageFrame(request, life.number, message)


async def _fetch(link: Link, name: str, ask: frames.History) -> tuple[frames.Page, Life]:
    return await _ask(link, name, lambda life: partial(_numbered, ask, life))


async def _ask(
    link: Link, name: str, asking: Callable[[Life], Callable[[int], frames.Frame]], epoch: int | None = None
) -> tuple[frames.Page, Life]:
    """One page; a connection that is lost or a number that died is not the caller's business."""
    while True:
        life = await link.find_channel(name)
        check_life(epoch, life)
        try:
            return await link.call(asking(life), frames.Page), life
        except ConnectionLost:
            continue
        except UnknownChannel:
            link.forget(name)


def _numbered(ask: frames.History, life: Life, request: int) -> frames.History:
    return ask._replace(request=request, number=life.number)


def _size(link: Link, left: int | None) -> int:
    most = min(PAGE_RECORDS, link.limits.get("page_records", PAGE_RECORDS))
    return most if left is None else min(most, left)


def check_life(epoch: int | None, life: Life) -> None:
    """Raises StaleEpoch unless the channel's life is the one that is meant."""
    if epoch is not None and epoch != life.epoch:
        raise StaleEpoch(f"{epoch:016x} is not the channel's epoch", detail={"epoch": f"{life.epoch:016x}"})


def _check_joint(edge: int, expected: int | None, page: frames.Page) -> None:
    """Pages lie side by side: nothing may be missing between them (PROTOCOL.md 2.2)."""
    if expected is not None and page.low <= page.high and edge != expected:
        raise Violation(f"the page of history {page.low} to {page.high} leaves {expected} out")


def _records(page: frames.Page, life: Life) -> list[Record]:
    """Those that the page means. Raises Violation when one is missing that no tile accounts for (PROTOCOL.md 4.7)."""
    stored = _read(page)
    if page.low <= page.high:
        _check_whole(page)
    return [record for record in from_store(stored, life.epoch) if page.low <= record.offset <= page.high]


def _check_whole(page: frames.Page) -> None:
    expected = page.low
    for index, span in enumerate(spans(page.batches)):
        if span.offset != expected and (index or span.offset > expected):
            raise Violation(f"a page of history {page.low} to {page.high} leaves {expected} out, or repeats it")
        expected = span.last + 1
    if expected <= page.high:
        raise Violation(f"a page of history says {page.low} to {page.high} and ends before {expected}")


def _read(page: frames.Page) -> list[StoredRecord]:
    try:
        return read_records(page.batches)
    except (ProtocolError, ValueError, LookupError) as error:
        raise Violation(f"a page of history cannot be read: {error}") from None
