"""HISTORY: one page of a channel's log, forwards or backwards (PROTOCOL.md 6.7)."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, limits
from outlast_protocol import frames as f

from . import pages
from .channel import Channel
from .log import Log
from .pages import Start
from .since import find_time

if TYPE_CHECKING:
    from .connection import ClientConnection


def history(connection: ClientConnection, frame: f.History) -> None:
    channel = connection.opened_channel(frame.number)
    if not 1 <= frame.limit <= limits.PAGE_RECORDS_MAX:
        text = f"limit is {frame.limit}, allowed are 1 to {limits.PAGE_RECORDS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if frame.backwards:
        connection.when_readable(frame.request, channel, lambda: _page_back(connection, frame, channel))
    elif frame.since_ms is not None:
        pages.check_start(frame)
        find_time(
            connection, frame.request, channel, frame.since_ms, lambda start: _page(connection, frame, channel, start)
        )
    else:
        pages.check_start(frame)
        connection.when_readable(frame.request, channel, lambda: _page(connection, frame, channel, None))


def _page(connection: ClientConnection, frame: f.History, channel: Channel, start: Start | None) -> None:
    start = start or pages.start_at(channel, frame)
    pages.refuse_resync(channel, start, frame.after)
    low = start.after + 1
    high = min(channel.last, start.after + frame.limit)

    def again() -> None:
        _page(connection, frame, channel, None if frame.since_ms is None else Start(channel.first - 1))

    def answer(parts: list[bytes]) -> None:
        _send_page(connection, frame.request, channel, pages.forwards(parts, low, high))

    if low > high:
        _send_page(connection, frame.request, channel, pages.Cut(low, low - 1, b""))
    elif channel.in_tail(low):
        answer(channel.tail_from(low, pages.PAGE_BYTES))
    else:
        _read_page(connection, frame.request, channel, (low, high), pages.read_on, answer, again)


def _page_back(connection: ClientConnection, frame: f.History, channel: Channel) -> None:
    if frame.epoch not in (None, channel.epoch):
        raise pages.stale_epoch(channel)
    if frame.before is not None and frame.before > channel.last + 1:
        text = f"before {frame.before} is ahead of the last offset, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
    high = channel.last if frame.before is None else max(frame.before, 1) - 1
    low = max(channel.first, high - frame.limit + 1)

    def answer(parts: list[bytes]) -> None:
        _send_page(connection, frame.request, channel, pages.backwards(parts, low, high))

    if low > high:
        _send_page(connection, frame.request, channel, pages.Cut(low, low - 1, b""))
    elif channel.in_tail(high):
        answer(channel.tail_before(high, high - low + 1, pages.PAGE_BYTES))
    else:
        again = partial(_page_back, connection, frame, channel)
        _read_page(connection, frame.request, channel, (low, high), pages.read_back, answer, again)


def _read_page(
    connection: ClientConnection,
    request: int,
    channel: Channel,
    records: tuple[int, int],
    read: Callable[[Log, int, int, int], list[bytes]],
    answer: Callable[[list[bytes]], None],
    again: Callable[[], None],
) -> None:
    """Answers with what the log holds; `again` judges anew if retention was there in the meantime."""

    def done(future: Future[list[bytes]]) -> None:
        if records[0] < channel.first:
            future.exception()  # damage, perhaps: what is missing was forgotten, not lost
            again()
        else:
            answer(future.result())

    connection.read_aside(request, channel, done, read, *records)


def _send_page(connection: ClientConnection, request: int, channel: Channel, cut: pages.Cut) -> None:
    page = f.Page(request, cut.low, cut.high, channel.first, channel.last, cut.batches)
    connection.send(f.encode(page))
