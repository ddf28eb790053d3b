"""A channel as its user sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

from outlast_protocol import Data, Headers, frames, session_frames
from outlast_protocol.limits import CREDIT_BYTES_MAX
from outlast_protocol.position import OFFSET_MAX

from . import delivery, history, starts
from . import lease as leasing
from .backoff import Pace
from .cursor import AckMode, Cursor, check_cursor_name, cursor_from
from .errors import Resync
from .lease import Lease, LeaseInfo, Way
from .link import Link
from .options import check_whole
from .outbox import Lane, Outbox
from .reading import Reading
from .records import Ack, ChannelInfo, Message, Record, Retention, info_from, retention_from
from .rows import Row, make_row
from .starts import Edge, Where
from .subscription import CursorSubscription, Feed, Seats, Subscription

WINDOW_BYTES_DEFAULT = 1_048_576
CURSORS_PAGE = 500


class Channel:
    """Made by `client.channel(name)`, without I/O. The channel comes to be when it is first used."""

    def __init__(self, name: str, link: Link, outbox: Outbox, seats: Seats, pace: Pace) -> None:
        self.name = name
        self._link = link
        self._outbox = outbox
        self._seats = seats
        self._pace = pace
        self._lane = Lane(name)

    def __repr__(self) -> str:
        return f"<outlast.Channel {self.name!r}>"

    # --- publishing ---------------------------------------------------------------------------------------

    async def publish(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        lease: Lease | None = None,
    ) -> Ack:
        """Returns when the message is on disk, over as many connections as that takes.

        `data` is bytes, text or a JSON value, and arrives as that. With `if_offset` it is stored only if
        that is the channel's last offset, else OffsetMismatch says the last one. Messages published while
        an acknowledgement is outstanding go together in one batch. With `lease` it is stored only while that is
        held, else Fenced is raised.

        Cancelling this call does not withdraw a message that may have been sent. Raises TooLarge, and
        BufferFull if the client was made with when_full="raise".
        """
        row = make_row(data, name, headers)
        return await (await self._outbox.admit(self._lane, (row,), _condition(if_offset), fence=_fence(lease)))

    def publish_nowait(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        lease: Lease | None = None,
    ) -> asyncio.Future[Ack]:
        """As `publish`, but returns at once; the future gets the Ack, or the error.

        Raises BufferFull when there is no room, whatever `when_full` says. An error of a future that
        nobody looks at is logged by asyncio.
        """
        row = make_row(data, name, headers)
        return self._outbox.offer(self._lane, (row,), _condition(if_offset), fence=_fence(lease))

    async def publish_many(
        self, messages: Iterable[Data | Message], *, if_offset: int | None = None, lease: Lease | None = None
    ) -> Ack:
        """Stores all messages in one atomic batch, or none. The Ack's `offsets` are theirs, in order.

        At least one message; TooLarge when they do not fit into one batch (1 MiB, 65,535 messages).
        """
        if isinstance(messages, bytes | str | Mapping):
            kind = type(messages).__name__
            raise TypeError(f"publish_many takes several messages, not one {kind}: put it into a list")
        rows = [_row(message) for message in messages]
        if not rows:
            raise ValueError("publish_many needs at least one message")
        fence = _fence(lease)
        return await (await self._outbox.admit(self._lane, rows, _condition(if_offset), alone=True, fence=fence))

    # --- reading ------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *,
        after: Where | None = None,
        start: Edge | None = None,
        last: int | None = None,
        since: datetime | int | None = None,
        cursor: str | None = None,
        ack: AckMode = "auto",
        on_resync: Callable[[Resync], object] | None = None,
        window_bytes: int = WINDOW_BYTES_DEFAULT,
    ) -> Subscription:
        """Records from one start on, then live. Without a start: what comes from now on ("latest").

        With `cursor` it begins after what the cursor of that name has acknowledged; the start counts only
        if there is none yet, and is "earliest" by default. `ack="auto"` acknowledges a record when the next
        one is asked for or the subscription is closed; with "manual" only `record.ack()` does.

        `after` is an offset, a Position or its text; `start` "earliest" or "latest"; `last` a number of
        records; `since` an aware datetime or Unix time in ms. `window_bytes` bounds what may arrive
        before it is iterated. `on_resync` is called (and awaited, if it gives an awaitable) instead of
        Resync being raised.
        """
        where = starts.choose(after, start, last, since, "latest" if cursor is None else "earliest")
        check_whole("window_bytes", window_bytes, 1, CREDIT_BYTES_MAX)
        if ack not in ("auto", "manual"):
            raise ValueError(f'ack is {ack!r}, expected "auto" or "manual"')
        if cursor is not None:
            check_cursor_name(cursor)
        feed = Feed(self.name, Reading(where, window_bytes, cursor), window_bytes, self._seats, self._pace, cursor)
        if feed.receipt is None:
            return Subscription(feed, on_resync)
        return CursorSubscription(feed, feed.receipt, ack == "auto", on_resync)

    def history(
        self,
        *,
        after: Where | None = None,
        start: Literal["earliest"] | None = None,
        last: int | None = None,
        since: datetime | int | None = None,
        before: Where | None = None,
        backwards: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[Record]:
        """What the channel holds now, fetched in pages while it is iterated; at most `limit` records.

        Forwards from a start (as in `subscribe`; "earliest" if none is given) and below `before`.
        `backwards` gives the newest first, below `before`, and takes no start.

        Raises UnknownChannel, Trimmed, StaleEpoch and OffsetAhead when iterated.
        """
        where = starts.choose(after, start, last, since, "earliest")
        if backwards and where != starts.EARLIEST:
            raise ValueError("backwards starts at `before` or at the end: leave out after, start, last, since")
        if limit is not None:
            check_whole("limit", limit, 0)
        offset, epoch = (None, None) if before is None else starts.read_where("before", before)
        wanted = history.Range(where, offset, epoch, limit)
        read = history.backwards if backwards else history.forwards
        return read(self._link, self.name, wanted)

    # --- cursors ------------------------------------------------------------------------------------------

    async def delivered(self, offset: Where, *, cursor: str, timeout: float | None = 30.0) -> None:
        """Returns when the reader that `cursor` names has acknowledged everything up to `offset`, on disk.

        Over as many connections as that takes; `timeout` in seconds, None: for ever. Raises NotDelivered when the
        time is up, UnknownChannel, OffsetAhead, and StaleEpoch for a position of an earlier life.
        """
        number, epoch = starts.read_where("offset", offset)
        wanted = delivery.Wanted(self.name, epoch, check_cursor_name(cursor), number)
        await delivery.wait_for(self._link, wanted, timeout)

    async def cursors(self) -> AsyncIterator[Cursor]:
        """The channel's cursors in the byte order of their names. Raises UnknownChannel."""
        after: str | None = None
        more = True
        while more:
            ask = partial(frames.Cursors, channel=self.name, after=after, limit=CURSORS_PAGE)
            result = await self._ask(ask)
            rows = [cursor_from(row) for row in result["cursors"]]
            for row in rows:
                yield row
            more = bool(rows) and result["more"]
            after = rows[-1].name if rows else None

    async def forget_cursor(self, name: str) -> int:
        """Forgets a cursor and returns the offset where it stood. Raises UnknownCursor and UnknownChannel.

        ConnectionLost means that it may or may not be forgotten.
        """
        check_cursor_name(name)
        reply = await self._link.call(lambda request: frames.Forget(request, self.name, name), frames.Reply)
        offset: int = reply.result["offset"]
        return offset

    # --- leases -------------------------------------------------------------------------------------------

    def lease(
        self,
        name: str,
        *,
        ttl: float = 10.0,
        wait: bool = False,
        timeout: float | None = None,
        take_over: bool = False,
    ) -> Lease:
        """The right to write under this name: `async with channel.lease("writer") as lease`.

        It is renewed by itself, and lapses `ttl` seconds (1 to 3,600) after this process stopped doing so: then the
        messages that it left open are closed as interrupted, and whoever writes under it gets Fenced.

        Entering it raises LeaseHeld while somebody else has it. With `wait` it waits until it is free; with `take_over`
        it takes it away, and what was opened under it belongs to the new holder. `timeout` seconds bound the asking.
        """
        way = Way(self._link, self._outbox, self._lane)
        return Lease(self, way, leasing.terms(name, ttl, wait, timeout, take_over))

    async def leases(self) -> AsyncIterator[LeaseInfo]:
        """The leases that are held, in the byte order of their names. Raises UnknownChannel."""
        result = await self._ask(lambda request: session_frames.Leases(request, self.name))
        for row in result["leases"]:
            yield leasing.info_from(row)

    # --- the channel itself -------------------------------------------------------------------------------

    async def info(self) -> ChannelInfo:
        """Raises UnknownChannel."""
        return info_from(await self._ask(lambda request: frames.Info(request, self.name)))

    async def configure(self, *, retention: Mapping[str, int | None] | Retention) -> Retention:
        """Changes what the channel keeps and returns what is now in force. Raises UnknownChannel.

        Keys: age_ms, records, bytes, idle_ttl_ms. 0 is no bound, None the broker's rule; a key that is
        left out stays as it is. A Retention sets all four.
        """
        keys = retention._asdict() if isinstance(retention, Retention) else dict(retention)
        for key, value in keys.items():
            if key not in Retention._fields:
                raise ValueError(f"retention has no {key!r}: allowed are {', '.join(Retention._fields)}")
            if value is not None:
                check_whole(key, value, 0, OFFSET_MAX)
        result = await self._ask(lambda request: frames.Configure(request, self.name, keys))
        return retention_from(result["retention"])

    async def truncate(self, *, before: Where) -> int:
        """Forgets every record before `before` and returns the lowest offset that is left.

        Raises UnknownChannel and OffsetAhead.
        """
        offset, _ = starts.read_where("before", before)
        result = await self._ask(lambda request: frames.Truncate(request, self.name, offset))
        first: int = result["first"]
        return first

    async def delete(self) -> None:
        """Deletes the channel with all its records. Raises UnknownChannel.

        ConnectionLost means that it may or may not be gone. It is not asked again by itself: what was
        published to a next life meanwhile would be deleted, too.
        """
        reply = await self._link.call(lambda request: frames.Delete(request, self.name), frames.Reply)
        assert reply.request
        self._link.forget(self.name)

    async def _ask(self, make: Callable[[int], frames.Frame]) -> Mapping[str, Any]:
        return (await self._link.call_again(make, frames.Reply)).result


def _row(message: Data | Message) -> Row:
    if isinstance(message, Message):
        return make_row(message.data, message.name, message.headers)
    return make_row(message, None, None)


def _fence(lease: Lease | None) -> int:
    return 0 if lease is None else lease.fence()


def _condition(if_offset: int | None) -> int | None:
    return None if if_offset is None else check_whole("if_offset", if_offset, 0, OFFSET_MAX)
