"""ACK, AWAIT, CURSORS and FORGET: durable reading positions, and who waits for them (PROTOCOL.md 6.9)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, frames as f, limits

from .channel import Channel
from .cursor import Cursors, Waiter
from .names import check_name

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .engine import Engine


def ack(connection: ClientConnection, frame: f.Ack) -> None:
    channel = _judged(connection, frame)
    offset = _advance(connection.engine, channel, frame.cursor, frame.offset, connection.heard_ms)
    # There may be as many of these as records: made here, and nothing is left to do for them but to be sent.
    connection.engine.after_commit(partial(connection.send, f.encode(f.Reply(frame.request, {"offset": offset}))))
    connection.engine.hold_back(connection)


def await_cursor(connection: ClientConnection, frame: f.Await) -> None:
    channel = _judged(connection, frame)
    if frame.timeout_ms > limits.AWAIT_MS_MAX:
        text = f"timeout_ms is {frame.timeout_ms}, allowed are up to {limits.AWAIT_MS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if len(connection.awaits) >= limits.AWAITS_MAX:
        text = f"{limits.AWAITS_MAX} AWAITs of this connection are unanswered"
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="awaits", value=limits.AWAITS_MAX)
    waiter = Waiter(
        frame.cursor,
        frame.offset,
        lambda offset: connection.reply(frame.request, {"offset": offset}),
        lambda error: connection.refuse(frame.request, error),
    )
    connection.awaits[waiter] = None
    waiter.when_over(lambda: connection.awaits.pop(waiter))
    _wait(connection.engine, channel, waiter, frame.timeout_ms)


def cursors(connection: ClientConnection, frame: f.Cursors) -> None:
    channel = connection.named_channel(frame.channel)
    if not 1 <= frame.limit <= limits.CURSORS_MAX:
        raise ProtocolError(ErrorCode.BAD_BODY, f"limit is {frame.limit}, allowed are 1 to {limits.CURSORS_MAX}")
    known = connection.engine.cursors(channel).rows(frame.after)
    rows = [
        {"cursor": name, "offset": offset, "lag": channel.last - offset, "acked_ms": acked_ms}
        for name, (offset, acked_ms) in known[: frame.limit]
    ]
    more = len(known) > len(rows)
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"cursors": rows, "more": more}))


def forget(connection: ClientConnection, frame: f.Forget) -> None:
    channel = connection.named_channel(frame.channel)
    offset = _forgotten(connection.engine, channel, frame.cursor)
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"offset": offset}))


def _judged(connection: ClientConnection, frame: f.Ack | f.Await) -> Channel:
    """The channel of a request that names a cursor and an offset. Raises ProtocolError when one cannot be.

    What lies beyond `last` was never delivered to anybody, whether it is on its way to disk or not.
    """
    channel = connection.opened_channel(frame.number)
    check_name("a cursor's name", frame.cursor, limits.CURSOR_NAME_BYTES_MAX)
    if frame.offset > channel.last:
        text = f"offset {frame.offset} is ahead of the last one, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
    return channel


def _advance(engine: Engine, channel: Channel, name: str, offset: int, now_ms: int) -> int:
    """Returns where the cursor stands now. Of each cursor a group writes the last offset only.

    Raises `limit_exceeded`, and `read_only` for a cursor that does not exist yet.
    """
    cursors = engine.cursors(channel)
    if cursors.get(name) is None:
        engine.check_writable()
    standing = cursors.advance(name, offset, now_ms)
    if standing is not None:
        engine.group.work.cursors[channel.number, name] = standing
        engine.group.cursors.add(channel)
        engine.group.answers += [partial(waiter.reach, offset) for waiter in cursors.reached(name)]
        engine.wake()
    return cursors.offset(name)


def _forgotten(engine: Engine, channel: Channel, name: str) -> int:
    """Returns where it stood. Raises `unknown_cursor`."""
    standing = engine.cursors(channel).forget(name)
    engine.group.work.cursors[channel.number, name] = None
    engine.group.cursors.add(channel)
    engine.wake()
    return standing.offset


def _wait(engine: Engine, channel: Channel, waiter: Waiter, timeout_ms: int) -> None:
    """`waiter` is told once the cursor stands there on disk, or after `timeout_ms` where it stands instead."""
    cursors = engine.cursors(channel)
    standing = cursors.offset(waiter.cursor)
    if standing >= waiter.offset:
        engine.after_commit(partial(waiter.reach, standing))
    else:
        cursors.wait(waiter)
        timer = engine.loop.call_later(timeout_ms / 1000, _late, engine, cursors, waiter)
        waiter.when_over(timer.cancel)


def _late(engine: Engine, cursors: Cursors, waiter: Waiter) -> None:
    """A waiter that the gathering group, or the one on its way to disk, is about to reach is not late."""
    if cursors.drop(waiter):
        standing = cursors.offset(waiter.cursor)
        text = f"cursor {waiter.cursor!r} stands at {standing}, not at {waiter.offset}"
        error = ProtocolError(ErrorCode.CURSOR_BEHIND, text, offset=standing)
        engine.after_commit(partial(waiter.miss, error))
