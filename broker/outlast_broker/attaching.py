"""ATTACH, MESSAGE and STATE: what a channel is now, and from there on (PROTOCOL.md 6.10)."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode, ProtocolError, frames as f

from . import attendance, clock, folded, subscribing
from .channel import Channel
from .damage import Damaged
from .pages import Cut, Start
from .session import Growing, Snapshot
from .subscription import Subscription

if TYPE_CHECKING:
    from .connection import ClientConnection


def attach(connection: ClientConnection, frame: f.Attach) -> None:
    subscribing.begin(connection, frame, lambda subscription, start: _attached(connection, frame, subscription, start))


def _attached(connection: ClientConnection, frame: f.Attach, subscription: Subscription, start: Start) -> None:
    """All that is said here is as of the channel's last offset (PROTOCOL.md 6.10)."""
    channel = subscription.channel
    session = connection.engine.session(channel)
    messages = [each.message for each in session.durable.messages.values() if each.is_open]
    answer = f.Attached(
        frame.request, start.after, channel.last, channel.epoch, channel.first, messages,
        state_rows(connection, channel), start.resync,
    )  # fmt: skip
    connection.send(f.encode(answer))
    if not frame.raw:
        subscription.snapshot = session.snapshot(channel.first, channel.last)
    if frame.presence:
        attendance.watch_attached(connection, channel)


def state(connection: ClientConnection, frame: f.State) -> None:
    channel = connection.named_channel(frame.channel)

    def answer() -> None:
        rows = state_rows(connection, channel)
        connection.reply(frame.request, {"epoch": channel.epoch, "last": channel.last, "state": rows})

    connection.when_readable(frame.request, channel, answer)


def state_rows(connection: ClientConnection, channel: Channel) -> list[Any]:
    """In byte order of the keys."""
    entries = connection.engine.session(channel).durable.entries
    return [entries[key].row(key) for key in sorted(entries, key=str.encode)]


def message(connection: ClientConnection, frame: f.Message) -> None:
    channel = connection.opened_channel(frame.number)
    connection.when_readable(frame.request, channel, lambda: _message(connection, frame, channel))


def _message(connection: ClientConnection, frame: f.Message, channel: Channel, before: Growing | None = None) -> None:
    """`before`: what was looked for in vain."""
    session = connection.engine.session(channel)
    growing = session.durable.messages.get(frame.message) or session.find_folded(frame.message, channel.first)
    if growing is None:
        raise _unknown(frame)
    if growing == before:
        raise Damaged(f"message {frame.message} of channel number {channel.number} is not as it was left")
    seen = folded.see(channel, Snapshot(channel.last, {growing.message: growing}), growing.base, clock.now_ms())
    if growing.message not in seen.growing:
        raise _unknown(frame)

    def done(future: Future[Cut | None]) -> None:
        trimmed = isinstance(future.exception(), folded.Hole) and seen.first < channel.first
        cut = None if trimmed else future.result()
        if cut is None:
            # Meanwhile it was trimmed, or went on and was folded further along.
            _message(connection, frame, channel, growing)
            return
        folded.remember(channel, seen)
        page = f.Page(frame.request, cut.low, cut.high, channel.first, channel.last, cut.batches)
        connection.send(f.encode(page))

    connection.read_aside(frame.request, channel, done, folded.message_page, seen, growing)


def _unknown(frame: f.Message) -> ProtocolError:
    text = f"no message was opened at offset {frame.message}, or it is past retention"
    return ProtocolError(ErrorCode.UNKNOWN_MESSAGE, text, message=frame.message)
