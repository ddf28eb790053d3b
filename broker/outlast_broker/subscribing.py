"""SUBSCRIBE, UNSUBSCRIBE and CREDIT: a connection begins to read a channel, and ends it (PROTOCOL.md 6.5, 6.6)."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from outlast_protocol import ErrorCode, ProtocolError, frames as f, limits

from . import attendance, clock, folded, pages
from .names import check_name
from .pages import Start
from .since import find_time
from .subscription import Subscription

if TYPE_CHECKING:
    from .connection import ClientConnection

Begun: TypeAlias = Callable[[Subscription, Start], None]


def subscribe(connection: ClientConnection, frame: f.Subscribe) -> None:
    begin(connection, frame, lambda subscription, start: _subscribed(connection, frame, subscription, start))


def _subscribed(connection: ClientConnection, frame: f.Subscribe, subscription: Subscription, start: Start) -> None:
    channel = subscription.channel
    answer = f.Subscribed(frame.request, start.after, channel.epoch, channel.first, channel.last, start.resync)
    connection.send(f.encode(answer))


def begin(connection: ClientConnection, frame: f.Subscribe | f.Attach, begun: Begun) -> None:
    """Finds where to start; then `begun` answers, and the reading begins."""
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
    _Beginning(connection, frame, subscription, begun).find_start()


class _Beginning:
    """A subscription that does not know yet where it starts."""

    def __init__(
        self, connection: ClientConnection, frame: f.Subscribe | f.Attach, subscription: Subscription, begun: Begun
    ) -> None:
        self._connection = connection
        self._frame = frame
        self._subscription = subscription
        self._channel = subscription.channel
        self._begun = begun

    def find_start(self) -> None:
        connection, frame, channel = self._connection, self._frame, self._channel
        standing = connection.engine.cursors(channel).get(frame.cursor) if frame.cursor is not None else None
        if standing is not None:
            offset = standing.offset
            connection.after_commit(frame.request, lambda: self._start(pages.after_offset(channel, offset)))
        elif frame.since_ms is not None:
            find_time(connection, frame.request, channel, frame.since_ms, self._start, self._failed)
        elif frame.last and isinstance(frame, f.Attach) and not frame.raw:
            connection.when_readable(frame.request, channel, self._find_last)
        else:
            connection.when_readable(frame.request, channel, lambda: self._start(None))

    def _find_last(self) -> None:
        """The last so many as they are given: folded (PROTOCOL.md 6.10)."""
        connection, channel = self._connection, self._channel
        snapshot = connection.engine.session(channel).snapshot(channel.first, channel.last)
        seen = folded.see(channel, snapshot, 0, clock.now_ms())

        def found(future: Future[int]) -> None:
            failure = future.exception()
            if isinstance(failure, folded.Hole) and seen.first < channel.first:
                self._find_last()
                return
            if failure is not None:
                self._failed()
            folded.remember(channel, seen)
            self._start(Start(max(future.result(), channel.first - 1)))

        connection.read_aside(self._frame.request, channel, found, folded.after_last, seen, self._frame.last or 0)

    def _failed(self) -> None:
        if self._connection.subscriptions.get(self._frame.number) is self._subscription:
            self._connection.ended(self._channel)

    def _start(self, start: Start | None) -> None:
        connection, frame, subscription = self._connection, self._frame, self._subscription
        if connection.subscriptions.get(frame.number) is not subscription:
            error = ProtocolError(ErrorCode.NOT_SUBSCRIBED, "it ended before it started")
            connection.refuse(frame.request, error)
            return
        try:
            connection.opened_channel(frame.number)
            start = start or pages.start_at(self._channel, frame)
        except ProtocolError as error:
            del connection.subscriptions[frame.number]
            connection.refuse(frame.request, error)
            return
        subscription.next = start.after + 1
        subscription.begin()
        self._begun(subscription, start)
        if subscription.next > self._channel.last and subscription.credit > 0:
            subscription.go_live()
        else:
            subscription.go_on()
            connection.engine.feeder.serve(connection)


def unsubscribe(connection: ClientConnection, frame: f.Unsubscribe) -> None:
    subscription = connection.subscriptions.pop(frame.number, None)
    if subscription is None:
        raise ProtocolError(ErrorCode.NOT_SUBSCRIBED, f"channel number {frame.number} is not subscribed")
    subscription.end()
    attendance.unwatch_quietly(connection, subscription.channel)
    connection.reply(frame.request, {})


def credit(connection: ClientConnection, frame: f.Credit) -> None:
    subscription = connection.subscriptions.get(frame.number)
    if subscription is None:
        return
    subscription.grant(frame.credit)
    if subscription in subscription.channel.readers and not subscription.live:
        subscription.go_on()
        connection.engine.feeder.serve(connection)
