"""ACK, AWAIT, CURSORS and FORGET: durable reading positions, and who waits for them (PROTOCOL.md 6.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, limits
from outlast_protocol import frames as f

from . import clock
from .channel import Channel
from .cursor import Waiter

if TYPE_CHECKING:
    from .connection import ClientConnection


def ack(connection: ClientConnection, frame: f.Ack) -> None:
    channel = connection.opened_channel(frame.number)
    check_cursor_name(frame.cursor)

    def judge() -> None:
        connection.opened_channel(frame.number)
        _check_offset(channel, frame.offset)
        connection.engine.advance_cursor(channel, frame.cursor, frame.offset)
        offset = connection.engine.cursors(channel).offset(frame.cursor)
        connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"offset": offset}))

    connection.when_readable(frame.request, channel, judge)


def await_(connection: ClientConnection, frame: f.Await) -> None:
    channel = connection.opened_channel(frame.number)
    check_cursor_name(frame.cursor)
    if frame.timeout_ms > limits.AWAIT_MS_MAX:
        text = f"timeout_ms is {frame.timeout_ms}, allowed are up to {limits.AWAIT_MS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)

    def reached() -> None:
        connection.reply(frame.request, {"offset": connection.engine.cursors(channel).offset(frame.cursor)})

    def missed(error: ProtocolError) -> None:
        connection.refuse(frame.request, error)

    def judge() -> None:
        connection.opened_channel(frame.number)
        _check_offset(channel, frame.offset)
        deadline_ms = clock.steady_ms() + frame.timeout_ms
        connection.engine.await_cursor(channel, Waiter(frame.cursor, frame.offset, deadline_ms, reached, missed))

    connection.when_readable(frame.request, channel, judge)


def cursors(connection: ClientConnection, frame: f.Cursors) -> None:
    channel = connection.named_channel(frame.channel)
    connection.after_commit(frame.request, lambda: _list(connection, frame, channel))


def _list(connection: ClientConnection, frame: f.Cursors, channel: Channel) -> None:
    known = connection.engine.cursors(channel)
    names = known.names(frame.after)
    rows = []
    for name in names[: frame.limit]:
        standing = known.get(name)
        assert standing is not None, "a cursor is listed that does not exist"
        lag = channel.last - standing.offset
        rows.append({"cursor": name, "offset": standing.offset, "lag": lag, "acked_ms": standing.acked_ms})
    connection.reply(frame.request, {"cursors": rows, "more": len(names) > len(rows)})


def forget(connection: ClientConnection, frame: f.Forget) -> None:
    channel = connection.named_channel(frame.channel)
    offset = connection.engine.forget_cursor(channel, frame.cursor)
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"offset": offset}))


def check_cursor_name(name: str) -> None:
    size = len(name.encode())
    if not 1 <= size <= limits.CURSOR_NAME_BYTES_MAX or any(each < " " or each == "\x7f" for each in name):
        most = limits.CURSOR_NAME_BYTES_MAX
        raise ProtocolError(ErrorCode.BAD_BODY, f"a cursor's name is 1 to {most} bytes of UTF-8, no control characters")


def _check_offset(channel: Channel, offset: int) -> None:
    if offset > channel.last:
        text = f"offset {offset} is ahead of the last one, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
