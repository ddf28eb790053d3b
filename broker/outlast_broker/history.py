"""HISTORY: one page of a channel's log, forwards or backwards, folded or as it lies there (PROTOCOL.md 6.7)."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVarTuple, Unpack

from outlast_protocol import ErrorCode, ProtocolError, frames as f, limits

from . import clock, folded, pages
from .channel import Channel
from .folded import Seen
from .log import Log
from .pages import Cut, Start
from .session import Snapshot
from .since import find_time

if TYPE_CHECKING:
    from .connection import ClientConnection

Ts = TypeVarTuple("Ts")


def history(connection: ClientConnection, frame: f.History) -> None:
    channel = connection.opened_channel(frame.number)
    if not 1 <= frame.limit <= limits.PAGE_RECORDS_MAX:
        text = f"limit is {frame.limit}, allowed are 1 to {limits.PAGE_RECORDS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if frame.backwards:
        connection.when_readable(frame.request, channel, lambda: _page_back(connection, frame, channel))
        return
    pages.check_start(frame)
    if frame.since_ms is not None:
        page = partial(_page, connection, frame, channel)
        find_time(connection, frame.request, channel, frame.since_ms, page)
    else:
        connection.when_readable(frame.request, channel, lambda: _page(connection, frame, channel, None))


def _page(connection: ClientConnection, frame: f.History, channel: Channel, start: Start | None) -> None:
    start = start or pages.start_at(channel, frame)
    pages.refuse_resync(channel, start, frame.after)
    low = start.after + 1
    high = min(channel.last, start.after + frame.limit)
    if low > high:
        _send_page(connection, frame.request, channel, Cut(low, low - 1, b""))
        return
    answering = _Answering(connection, frame, channel, low, lambda: _page_again(connection, frame, channel))
    if frame.fold and frame.last is not None:
        answering.seen(folded.page_last, _seen(connection, frame, channel, 0), frame.last, frame.limit)
    elif frame.fold or channel.perishable:
        answering.seen(folded.page_on, _seen(connection, frame, channel, low), low, frame.limit)
    elif channel.in_tail(low):
        parts = channel.tail_from(low, pages.PAGE_BYTES)
        _send_page(connection, frame.request, channel, pages.forwards(parts, low, high))
    else:
        answering.stored(pages.read_on, lambda parts: pages.forwards(parts, low, high), high)


def _page_again(connection: ClientConnection, frame: f.History, channel: Channel) -> None:
    """Where a time was looked for and retention has been there since, all that is left is younger."""
    _page(connection, frame, channel, None if frame.since_ms is None else Start(channel.first - 1))


def _page_back(connection: ClientConnection, frame: f.History, channel: Channel) -> None:
    if frame.epoch not in (None, channel.epoch):
        raise pages.stale_epoch(channel)
    if frame.before is not None and frame.before > channel.last + 1:
        text = f"before {frame.before} is ahead of the last offset, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
    high = channel.last if frame.before is None else max(frame.before, 1) - 1
    low = max(channel.first, high - frame.limit + 1)
    if low > high:
        _send_page(connection, frame.request, channel, Cut(low, low - 1, b""))
        return
    answering = _Answering(connection, frame, channel, low, partial(_page_back, connection, frame, channel))
    if frame.fold or channel.perishable:
        answering.seen(folded.page_back, _seen(connection, frame, channel, 0), high, frame.limit)
    elif channel.in_tail(high):
        parts = channel.tail_before(high, high - low + 1, pages.PAGE_BYTES)
        _send_page(connection, frame.request, channel, pages.backwards(parts, low, high))
    else:
        answering.stored(pages.read_back, lambda parts: pages.backwards(parts, low, high), high)


class _Answering:
    """A page that is read aside; `again` judges anew if retention was there in the meantime."""

    def __init__(
        self, connection: ClientConnection, frame: f.History, channel: Channel, low: int, again: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._request = frame.request
        self._channel = channel
        self._low = low
        self._again = again
        self._first = channel.first

    def stored(
        self, read: Callable[[Log, int, int, int], list[bytes]], cut: Callable[[list[bytes]], Cut], high: int
    ) -> None:
        """As it lies in the chunks."""

        def done(future: Future[list[bytes]]) -> None:
            if self._low < self._channel.first:
                self._retry(future)
            else:
                self._send(cut(future.result()))

        self._connection.read_aside(self._request, self._channel, done, read, self._channel.number, self._low, high)

    def seen(self, read: Callable[[Log, Seen, Unpack[Ts]], Cut], seen: Seen, *args: *Ts) -> None:
        """Folded, or without what is over."""

        def done(future: Future[Cut]) -> None:
            if self._first < self._channel.first and future.exception() is not None:
                self._retry(future)
            else:
                cut = future.result()
                folded.remember(self._channel, seen)
                self._send(cut._replace(batches=folded.current(cut, clock.now_ms())))

        self._connection.read_aside(self._request, self._channel, done, read, seen, *args)

    def _retry(self, future: Future[list[bytes]] | Future[Cut]) -> None:
        future.exception()  # damage, perhaps: what is missing was forgotten, not lost
        self._again()

    def _send(self, cut: Cut) -> None:
        _send_page(self._connection, self._request, self._channel, cut)


def _seen(connection: ClientConnection, frame: f.History, channel: Channel, low: int) -> Seen:
    snapshot = Snapshot(channel.last)
    if frame.fold:
        snapshot = connection.engine.session(channel).snapshot(channel.first, channel.last)
    return folded.see(channel, snapshot, low, clock.now_ms(), folded.PAGE_READ_BYTES if low else None)


def _send_page(connection: ClientConnection, request: int, channel: Channel, cut: Cut) -> None:
    page = f.Page(request, cut.low, cut.high, channel.first, channel.last, cut.batches)
    connection.send(f.encode(page))
