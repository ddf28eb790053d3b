"""A channel as its user sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

from outlast_protocol import Data, Headers, frames
from outlast_protocol.limits import CREDIT_BYTES_MAX
from outlast_protocol.operations import Op
from outlast_protocol.position import OFFSET_MAX

from . import delivery, history, lease as leasing, starts
from .answers import Answers
from .attachment import AttachFeed, Attachment
from .backoff import Pace
from .claim import Claim, ClaimSummary, claim_from, wanted
from .cursor import AckMode, Cursor, check_cursor_name, cursor_from
from .ephemeral import Ephemerals, Hearer, Hearing, Mouth
from .errors import Resync
from .growing import Content, GrowingMessage
from .inbox import Inbox, kinds_of
from .lease import Lease, LeaseInfo, Way
from .link import Link
from .message import MessageWriter, Named, Voice, adopted, amended, check_kind, opening, read_message
from .options import check_whole, ttl_ms_from
from .outbox import Lane, Outbox
from .presence import Presence
from .publisher import Leased, fence_of
from .reading import Reading
from .records import Ack, ChannelInfo, Message, Record, Retention, info_from, retention_from
from .requests import Fields, Kind, Outcome, Reference, make_request, number_of
from .rows import Row, make_row
from .starts import Edge, Where
from .state import SharedState
from .subscription import CursorSubscription, Feed, Seats, Subscription

WINDOW_BYTES_DEFAULT = 1_048_576
CURSORS_PAGE = 500
EPHEMERAL_KEPT_DEFAULT = 256
INBOX_WAITING_MAX = 1_000
INBOX_KINDS_DEFAULT: tuple[Kind, ...] = ("prompt", "cancel", "steer")
CLAIMS_PAGE = 500


class Channel:
    """Made by `client.channel(name)`, without I/O. The channel comes to be when it is first used."""

    def __init__(self, name: str, link: Link, outbox: Outbox, seats: Seats, pace: Pace, hearing: Hearing) -> None:
        self.name = name
        self._link = link
        self._outbox = outbox
        self._seats = seats
        self._pace = pace
        self._lane = Lane(name)
        self.presence = Presence(name, link, pace)
        self._hearing = hearing
        self._mouth = Mouth(name, link)
        self._answers = Answers(self, lambda: link.bounds.client_id)

    def __repr__(self) -> str:
        return f"<outlast.Channel {self.name!r}>"

    @property
    def state(self) -> SharedState:
        """The channel's shared state: keys and values beside its messages, in one order with them."""
        return SharedState(self.name, self._link, self._outbox, self._lane, self.subscribe)

    # --- publishing ---------------------------------------------------------------------------------------

    async def publish(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        ttl: float | None = None,
        lease: Leased | None = None,
    ) -> Ack:
        """Returns when the message is on disk, over as many connections as that takes.

        `data` is bytes, text or a JSON value, and arrives as that. With `if_offset` it is stored only if
        that is the channel's last offset, else OffsetMismatch says the last one. Messages published while
        an acknowledgement is outstanding go together in one batch. With `lease` it is stored only while that is
        held, else Fenced is raised. `ttl` seconds after it was accepted nobody is given it any more; its offset stays.

        Cancelling this call does not withdraw a message that may have been sent. Raises TooLarge, and
        BufferFull if the client was made with when_full="raise".
        """
        row = make_row(data, name, headers, ttl_ms=ttl_ms_from(ttl))
        return await (await self._outbox.admit(self._lane, (row,), _condition(if_offset), fence=fence_of(lease)))

    def publish_nowait(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        ttl: float | None = None,
        lease: Leased | None = None,
    ) -> asyncio.Future[Ack]:
        """As `publish`, but returns at once; the future gets the Ack, or the error.

        Raises BufferFull when there is no room, whatever `when_full` says. An error of a future that
        nobody looks at is logged by asyncio.
        """
        row = make_row(data, name, headers, ttl_ms=ttl_ms_from(ttl))
        return self._outbox.offer(self._lane, (row,), _condition(if_offset), fence=fence_of(lease))

    async def publish_many(
        self, messages: Iterable[Data | Message], *, if_offset: int | None = None, lease: Leased | None = None
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
        fence = fence_of(lease)
        return await (await self._outbox.admit(self._lane, rows, _condition(if_offset), alone=True, fence=fence))

    # --- messages that grow -------------------------------------------------------------------------------

    def message(
        self,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        data: Content = "",
        lease: Leased | None = None,
    ) -> MessageWriter:
        """A message that grows while it is written: `async with channel.message(name="answer") as message`.

        `data` is its beginning, and says whether it is text or bytes. Under a lease it belongs to that: who takes
        the lease over may go on with it. At most 1,000,000 bytes.
        """
        return opening(self._voice(lease), name, headers, data)

    async def adopt(self, message_id: Where | Named, *, lease: Leased | None = None) -> MessageWriter:
        """Goes on writing a message that is open, or was interrupted. Its `content` is what it holds already.

        Raises MessageClosed when it is neither, ForeignMessage when it belongs to somebody else, UnknownMessage,
        UnknownChannel, and StaleEpoch for a position of an earlier life.
        """
        return await adopted(self._voice(lease), await self.get_message(message_id))

    async def get_message(self, message_id: Where | Named) -> GrowingMessage:
        """A growing message as it stands. Raises UnknownMessage, UnknownChannel and StaleEpoch."""
        offset, epoch = read_message(message_id)
        return await history.fetch_message(self._link, self.name, offset, epoch)

    async def replace(self, message_id: Where | Named, data: Content, *, lease: Leased | None = None) -> Ack:
        """Gives a message, open or closed, new content. Raises UnknownMessage, MessageClosed and ForeignMessage."""
        check_kind(data, data)
        return await amended(self._voice(lease), message_id, Op.REPLACE, data)

    async def remove(self, message_id: Where | Named, *, lease: Leased | None = None) -> Ack:
        """Takes a message's content away for ever. Raises UnknownMessage, MessageClosed and ForeignMessage."""
        return await amended(self._voice(lease), message_id, Op.REMOVE, b"")

    def _voice(self, lease: Leased | None) -> Voice:
        return Voice(self._outbox, self._lane, lease)

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
        where = self._start(after, start, last, since, cursor, ack, window_bytes)
        feed = Feed(self.name, Reading(where, window_bytes, cursor), window_bytes, self._seats, self._pace, cursor)
        if feed.receipt is None:
            return Subscription(feed, on_resync)
        return CursorSubscription(feed, feed.receipt, ack == "auto", on_resync)

    def attach(
        self,
        *,
        after: Where | None = None,
        start: Edge | None = None,
        last: int | None = None,
        since: datetime | int | None = None,
        cursor: str | None = None,
        ack: AckMode = "auto",
        raw: bool = False,
        presence: bool = True,
        on_resync: Callable[[Resync], object] | None = None,
        window_bytes: int = WINDOW_BYTES_DEFAULT,
    ) -> Attachment:
        """What the channel is now, and what happens to it: `async with channel.attach(last=50) as session`.

        Starts, cursors and the rest are as in `subscribe`; `last` counts each growing message as one record, unless
        `raw` gives history operation by operation. `presence` says who is there. See Attachment.
        """
        where = self._start(after, start, last, since, cursor, ack, window_bytes)
        feed = AttachFeed(
            self.name, Reading(where, window_bytes, cursor), window_bytes, self._seats, self._pace, cursor,
            raw=raw, room=self.presence.room if presence else None,
        )  # fmt: skip
        return Attachment(feed, self._fetch_message, ack == "auto", on_resync)

    def _fetch_message(self, message: int, epoch: int) -> Awaitable[GrowingMessage]:
        return history.fetch_message(self._link, self.name, message, epoch)

    def _start(
        self, after: Where | None, start: Edge | None, last: int | None, since: datetime | int | None,
        cursor: str | None, ack: str, window_bytes: int,
    ) -> starts.Start:  # fmt: skip
        where = starts.choose(after, start, last, since, "latest" if cursor is None else "earliest")
        check_whole("window_bytes", window_bytes, 1, CREDIT_BYTES_MAX)
        if ack not in ("auto", "manual"):
            raise ValueError(f'ack is {ack!r}, expected "auto" or "manual"')
        if cursor is not None:
            check_cursor_name(cursor)
        return where

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
        raw: bool = False,
    ) -> AsyncIterator[Record]:
        """What the channel holds now, fetched in pages while it is iterated; at most `limit` records.

        Forwards from a start (as in `subscribe`; "earliest" if none is given) and below `before`.
        `backwards` gives the newest first, below `before`, and takes no start. Each growing message is one
        record, whole, where its latest operation is, and `record.operation` says how it stands; `raw` gives it
        operation by operation.

        Raises UnknownChannel, Trimmed, StaleEpoch and OffsetAhead when iterated.
        """
        where = starts.choose(after, start, last, since, "earliest")
        if backwards and where != starts.EARLIEST:
            raise ValueError("backwards starts at `before` or at the end: leave out after, start, last, since")
        if limit is not None:
            check_whole("limit", limit, 0)
        offset, epoch = (None, None) if before is None else starts.read_where("before", before)
        wanted = history.Range(where, offset, epoch, limit, fold=not raw)
        read = history.backwards if backwards else history.forwards
        return read(self._link, self.name, wanted)

    # --- what is not stored -------------------------------------------------------------------------------

    def send_ephemeral(self, data: Data, *, name: str | None = None, headers: Headers | None = None) -> bool:
        """Tells those who read the channel now, and stores nothing: for typing indicators and the like.

        Returns at once, and whether it was sent: False without a connection, or with one that does not drain. What
        was sent may still be dropped on its way. Raises TooLarge for more than a frame of 65,536 bytes holds.
        """
        return self._mouth.send(make_row(data, name, headers))

    def ephemeral(self, *, limit: int = EPHEMERAL_KEPT_DEFAULT) -> Ephemerals:
        """The ephemeral messages that come from now on, this client's own too.

        Of those that are not iterated yet the newest `limit` are kept. With a subscription of this client to the
        channel they come by that one, and not while it is behind; else the client subscribes for them.
        """
        return Ephemerals(Hearer(self.name, check_whole("limit", limit, 1)), self._hearing)

    # --- two ways -----------------------------------------------------------------------------------------

    async def prompt(
        self, text: str, *, message: Reference | None = None, fields: Fields | None = None, timeout: float | None = 30.0
    ) -> Outcome:
        """Asks whoever reads this channel's inbox for something, and returns when that was accepted or refused.

        `message` is what it refers to: an offset, or what has one. `fields` go with it as data, beside the text. Over
        as many connections as that takes. Raises NotAnswered after `timeout` seconds; the prompt stays open then.
        Raises Resync when the answer cannot be known, because records were lost or the channel was deleted.
        """
        return await self._request("prompt", text, message, fields, timeout)

    async def cancel(self, message: Reference, text: str | None = None, *, timeout: float | None = 30.0) -> Outcome:
        """Asks to stop the work on a message, or on a request; `text` says why. Returns and raises as `prompt`."""
        return await self._request("cancel", text, message, None, timeout)

    async def steer(
        self, message: Reference, text: str, *, fields: Fields | None = None, timeout: float | None = 30.0
    ) -> Outcome:
        """Asks to go on with a message, or with a request, in another way. Returns and raises as `prompt`."""
        return await self._request("steer", text, message, fields, timeout)

    async def ask_approval(
        self,
        text: str,
        *,
        message: Reference | None = None,
        fields: Fields | None = None,
        timeout: float | None,
    ) -> Outcome:
        """Asks people whether something may be done. What this client itself answers is no approval.

        People take their time: `timeout` in seconds has to be chosen, None: for ever. Returns and raises as `prompt`.
        """
        return await self._request("approval", text, message, fields, timeout)

    async def _request(
        self, kind: Kind, text: str | None, message: Reference | None, fields: Fields | None, timeout: float | None
    ) -> Outcome:
        number = None if message is None else number_of("the message", message)
        return await self._answers.ask(make_request(kind, text, number, fields), timeout)

    async def outcome(self, request: Reference, *, timeout: float | None = 30.0) -> Outcome:
        """How a request was answered, whoever made it and whenever; waits for that. Raises NotAnswered, and
        ValueError when no request has that number.
        """
        return await self._answers.outcome(number_of("the request", request), timeout)

    async def approve(self, request: Reference, data: Data = None) -> Outcome:
        """Accepts a request by its number. Returns the answer that counts: somebody else's, if that came first.

        Raises OffsetAhead beyond the last record, ValueError for what is no request or was asked by this client itself.
        """
        return await self._answers.accept(number_of("the request", request), data)

    async def reject(self, request: Reference, reason: str = "") -> Outcome:
        """Refuses a request by its number; one's own is withdrawn so. Returns and raises as `approve`."""
        return await self._answers.refuse(number_of("the request", request), reason)

    def inbox(
        self,
        *,
        cursor: str,
        kinds: Collection[Kind] = INBOX_KINDS_DEFAULT,
        waiting_max: int = INBOX_WAITING_MAX,
    ) -> Inbox:
        """The requests that nobody has answered, to be entered and iterated; then those that come.

        `cursor` names whose inbox it is: started again under it, the requests that are still open come again. With
        kinds=("approval",) it is the inbox of a person. Beyond `waiting_max` that are not iterated yet it refuses more.
        """
        check_whole("waiting_max", waiting_max, 1)
        records = self.subscribe(cursor=cursor, ack="manual")
        return Inbox(self, records, kinds_of(kinds), self._link.bounds.client_id, waiting_max)

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
        async for row in self._rows(partial(frames.Cursors, limit=CURSORS_PAGE), "cursors", "cursor"):
            yield cursor_from(row)

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
        result = await self._ask(lambda request: frames.Leases(request, self.name))
        for row in result["leases"]:
            yield leasing.info_from(row)

    # --- claims -------------------------------------------------------------------------------------------

    def claim(self, key: str, *, ttl: float = 30.0, wait: bool = False, timeout: float | None = None) -> Claim:
        """The right to do what `key` stands for, for `async with`: granted to one of all who ask, until it is settled.

        Inside the block `claim.granted` says that it is this one's to do, and to end with `await claim.settle(result)`;
        else it is `done`, and `claim.result` what it was settled with. While the block runs it is extended by itself;
        without it, it lapses after `ttl` seconds, 1 to 3,600. A block that is left without settling abandons it, and
        the next may try.

        When somebody else is at it, entering raises ClaimHeld; with `wait`, or a `timeout` in seconds, it waits until
        the claim is free or done, and raises ClaimHeld when the time is up. Raises LimitExceeded, and ReadOnly.
        """
        return Claim(self._link, wanted(self.name, key, ttl, wait, timeout))

    async def once(
        self,
        key: str,
        function: Callable[[], Awaitable[Data] | Data],
        *,
        ttl: float = 30.0,
        timeout: float | None = None,
    ) -> Data:
        """What `function` gave, to whomever was granted `key`: it is called here only if nobody has done it yet.

        Waits while somebody else is at it, up to `timeout` seconds. What it raises is raised, and the next may try.
        Raises ClaimHeld, and Fenced when somebody else was granted it while `function` ran.
        """
        async with self.claim(key, ttl=ttl, wait=True, timeout=timeout) as claim:
            if claim.granted:
                result = function()
                await claim.settle(await result if isinstance(result, Awaitable) else result)
            return claim.result

    async def claims(self) -> AsyncIterator[ClaimSummary]:
        """The channel's claims in the byte order of their keys. Raises UnknownChannel."""
        async for row in self._rows(partial(frames.Claims, limit=CLAIMS_PAGE), "claims", "key"):
            yield claim_from(row)

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

    async def delete(self, *, hard: bool = False) -> None:
        """Deletes the channel with all its records. Raises UnknownChannel.

        With `hard` it returns when nothing of them can be read in the broker's file either, which takes as long as
        writing that anew. Raises ReadOnly if the disk has no room for it: the channel is deleted, and the broker tries
        again by itself.

        ConnectionLost means that it may or may not be gone. It is not asked again by itself: what was
        published to a next life meanwhile would be deleted, too.
        """
        reply = await self._link.call(lambda request: frames.Delete(request, self.name, hard), frames.Reply)
        assert reply.request
        self._link.forget(self.name)

    async def _rows(self, make: Callable[..., frames.Frame], field: str, key: str) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a list that is asked for page by page, each behind the last row's `key`."""
        after: str | None = None
        more = True
        while more:
            result = await self._ask(partial(make, channel=self.name, after=after))
            rows = result[field]
            for row in rows:
                yield row
            more = bool(rows) and result["more"]
            after = rows[-1][key] if rows else None

    async def _ask(self, make: Callable[[int], frames.Frame]) -> Mapping[str, Any]:
        return (await self._link.call_again(make, frames.Reply)).result


def _row(message: Data | Message) -> Row:
    if isinstance(message, Message):
        return make_row(message.data, message.name, message.headers, ttl_ms=ttl_ms_from(message.ttl))
    return make_row(message, None, None)


def _condition(if_offset: int | None) -> int | None:
    return None if if_offset is None else check_whole("if_offset", if_offset, 0, OFFSET_MAX)
