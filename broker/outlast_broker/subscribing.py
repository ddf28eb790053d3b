"""SUBSCRIBE, UNSUBSCRIBE and CREDIT: a connection begins to read a channel, and ends it (PROTOCOL.md 6.5, 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, limits
from outlast_protocol import frames as f

from . import pages
from .names import check_name
from .pages import Start
from .since import find_time
from .subscription import Subscription

if TYPE_CHECKING:
    from .connection import ClientConnection


def subscribe(connection: ClientConnection, frame: f.Subscribe) -> None:
    channel = connection.opened_channel(frame.number)
    pages.check_start(frame)
    if frame.cursor is not None:
        check_name("a cursor's name", frame.cursor, limits.CURSOR_NAME_BYTES_MAX)
    if frame.number in connection.subscriptions:
        text = f"this connection already reads {channel.name!r}"
        raise ProtocolError(ErrorCode.ALREADY_SUBSCRIBED, text)
    subscription = Subscription(connection, channel, 0, 0)
    subscription.grant(frame.credit)
    connection.subscriptions[frame.number] = subscription
    standing = connection.engine.cursors(channel).get(frame.cursor) if frame.cursor is not None else None
    if standing is not None:
        offset = standing.offset
        connection.after_commit(
            frame.request, lambda: _start(connection, frame, subscription, pages.after_offset(channel, offset))
        )
    elif frame.since_ms is not None:
        find_time(
            connection,
            frame.request,
            channel,
            frame.since_ms,
            done=lambda start: _start(connection, frame, subscription, start),
            failed=lambda: connection.ended(channel),
        )
    else:
        connection.when_readable(frame.request, channel, lambda: _start(connection, frame, subscription, None))


def _start(connection: ClientConnection, frame: f.Subscribe, subscription: Subscription, start: Start | None) -> None:
    channel = subscription.channel
    if connection.subscriptions.get(frame.number) is not subscription:
        error = ProtocolError(ErrorCode.NOT_SUBSCRIBED, "it ended before it started")
        connection.refuse(frame.request, error)
        return
    try:
        connection.opened_channel(frame.number)
        start = start or pages.start_at(channel, frame)
    except ProtocolError as error:
        del connection.subscriptions[frame.number]
        connection.refuse(frame.request, error)
        return
    subscription.next = start.after + 1
    channel.readers.add(subscription)
    answer = f.Subscribed(frame.request, start.after, channel.epoch, channel.first, channel.last, start.resync)
    connection.send(f.encode(answer))
    if subscription.next > channel.last and subscription.credit > 0:
        subscription.go_live()
    else:
        subscription.go_on()
        connection.engine.feeder.serve(connection)


def unsubscribe(connection: ClientConnection, frame: f.Unsubscribe) -> None:
    subscription = connection.subscriptions.pop(frame.number, None)
    if subscription is None:
        raise ProtocolError(ErrorCode.NOT_SUBSCRIBED, f"channel number {frame.number} is not subscribed")
    subscription.end()
    connection.reply(frame.request, {})


def credit(connection: ClientConnection, frame: f.Credit) -> None:
    subscription = connection.subscriptions.get(frame.number)
    if subscription is None:
        return
    subscription.grant(frame.credit)
    if subscription in subscription.channel.readers and not subscription.live:
        subscription.go_on()
        connection.engine.feeder.serve(connection)
