"""An attachment: what a channel is now, and everything that happens to it from there on (PROTOCOL.md 6.10).

It is a subscription whose records are put together: growing messages, the state and members are kept as they stand, and
what the user gets is what has happened to them. It survives connections as a subscription does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Self, TypeAlias

from outlast_protocol import Position, frames
from outlast_protocol.operations import STATE_OPS, Op, Operation
from outlast_protocol.session_frames import Attach, Attached

from .backoff import Pace
from .cursor import Receipt
from .errors import Resync, StaleEpoch, UnknownChannel, UnknownMessage, Violation
from .growing import Assembly, Content, GrowingMessage
from .link import Life
from .members import Member, MemberChanged, PresenceEvent, PresenceSnapshot
from .reading import Reading
from .records import Record
from .replica import Replica, StateChanged, StateSnapshot
from .room import Lookout, Room
from .starts import Start
from .state import entries_from
from .subscription import Feed, Seats, Stream, last_acks

FetchMessage = Callable[[int, int], Awaitable[GrowingMessage]]


class MessageChanged(NamedTuple):
    """Something was said of a growing message by `record`.

    `message` is how it stands since. `delta` is what to add to what was shown of it; None: show `message.content` anew.
    """

    message: GrowingMessage
    delta: Content | None
    record: Record

    @property
    def operation(self) -> Operation:
        assert self.record.operation is not None
        return self.record.operation

    @property
    def position(self) -> Position:
        """Of the record: what was handed over up to it is known."""
        return self.record.position


Event: TypeAlias = Record | MessageChanged | StateChanged | PresenceEvent


class Glance(Lookout):
    """A look at who is there, for one that waits for more than that."""

    def __init__(self, woken: Callable[[], None]) -> None:
        super().__init__(wants_rows=True)
        self.looks = False
        self._woken = woken

    def wake(self) -> None:
        self._woken()


class AttachFeed(Feed):
    """As a subscription's, and it keeps what ATTACHED says until the user looks.

    All of a client's looks at who is in a channel share one watch, so ATTACH does not ask for another one.
    """

    def __init__(
        self, name: str, reading: Reading, window_bytes: int, seats: Seats, pace: Pace, cursor: str | None,
        *, raw: bool, room: Room | None,
    ) -> None:  # fmt: skip
        super().__init__(name, reading, window_bytes, seats, pace, cursor)
        self.attached: Attached | None = None
        self.glance = None if room is None else Glance(self._wake)
        self._raw = raw
        self._room = room

    def _frame(self, life: Life, credit: int, start: Start, request: int) -> frames.Frame:
        cursor = self.reading.asked_cursor
        return Attach(request, life.number, credit, *start, cursor=cursor, raw=self._raw, presence=False)

    def _accept(self, answer: frames.Subscribed | Attached) -> None:
        super()._accept(answer)
        if isinstance(answer, Attached) and self.subscribed:
            self.attached = answer
            self._look()

    def _look(self) -> None:
        """Once: the watch survives connections by itself."""
        if self._room is not None and self.glance is not None and not self.glance.looks:
            self.glance.looks = True
            self._room.watch(self.glance)

    def resynced(self, resync: frames.Resync) -> None:
        """What was left out may have been operations: only another ATTACH says what the channel is since."""
        if resync.reason == "deleted":
            super().resynced(resync)
        elif self._life is not None and self._link is not None:
            self._unsubscribe(self._link, self._life)
            self.subscribed = False
            self.reading.lost()
            self._subscribe()

    def _let_go(self) -> None:
        super()._let_go()
        if self._room is not None and self.glance is not None:
            self._room.unwatch(self.glance)


class Attachment(Stream):
    """Enter it with `async with`: then it says what the channel is, and iterating it, what happens.

    Events are the channel's records in order, each once: an operation on a growing message as MessageChanged, one on
    the state as StateChanged, anything else as Record; a PresenceEvent comes between them. The history from the start
    that was asked for comes first: each growing message once, whole, where its latest operation is (with `raw`,
    operation by operation). `state` has the history's changes already, so none of those is told.

    What cannot be resumed raises Resync, or is given to `on_resync`; then `state`, `messages` and `members` are
    those of where it goes on. Iterating again goes on.
    """

    _feed: AttachFeed

    def __init__(
        self, feed: AttachFeed, fetch: FetchMessage, auto: bool, on_resync: Callable[[Resync], object] | None
    ) -> None:
        super().__init__(feed, on_resync)
        self._fetch = fetch
        self._auto = auto
        self._assembly = Assembly()
        self._replica = Replica()
        self._snapshot: StateSnapshot | None = None
        self._members: dict[tuple[str, int], Member] = {}
        self._sees_members = feed.glance is None
        self._through: Position | None = None
        # Messages whose beginning cannot be had any more.
        self._lost: set[int] = set()
        # Whether what is known here is what the next record follows.
        self._joins = False
        self._handed: Position | None = None

    # --- what the channel is ------------------------------------------------------------------------------

    @property
    def through(self) -> Position:
        """The channel's last offset when the broker answered. History ends there, and what comes after it is live."""
        return self._known()

    @property
    def state(self) -> StateSnapshot:
        """The shared state, as of `through` or of the last event, whichever is later."""
        self._known()
        if self._snapshot is None:
            self._snapshot = StateSnapshot(dict(self._replica.entries), self._replica.position)
        return self._snapshot

    @property
    def messages(self) -> Mapping[int, GrowingMessage]:
        """Messages that are open, by their id, as of the last event.

        On entering these are the ones that said nothing in the history that is asked for: show them. All others come
        as events, whole the first time.
        """
        self._known()
        return self._assembly.messages

    @property
    def members(self) -> list[Member]:
        """Who is present or away, as of the last event; nobody without `presence`."""
        self._known()
        return list(self._members.values())

    def _known(self) -> Position:
        """Before the broker has answered nothing is known, which is not the same as that there is nothing."""
        if self._through is None:
            raise RuntimeError("the attachment is not entered yet: use `async with channel.attach() as session`")
        return self._through

    # --- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        feed = self._feed
        with self._entering():
            await self._accepted()
            while not feed.closed and not self._reading.ended and not await self._is_settled():
                await self._more()
        return self

    async def _is_settled(self) -> bool:
        """Whether everything is known that entering promises."""
        await self._settle()
        if not self._sees_members:
            self._presence_event()
        return self._joins and self._sees_members

    async def close(self) -> None:
        """Ends it, once what was acknowledged is on disk, or after a second of trying. May be called twice."""
        receipt = self._feed.receipt
        if receipt is not None:
            self._ack_handed()
            await last_acks(self._feed, receipt)
        await super().close()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._handed = None
        await self.close()

    # --- cursors ------------------------------------------------------------------------------------------

    def ack(self) -> None:
        """Says that everything handed over so far is done with. At once: `acked()` waits for the disk.

        Raises RuntimeError for an attachment without a cursor.
        """
        position = self.position
        receipt = self._need_receipt()
        if position is not None:
            receipt.acknowledge(*position)

    async def acked(self) -> None:
        """Returns when everything acknowledged so far is on disk. Raises UnknownChannel and Closed."""
        await self._need_receipt().acked()

    def _need_receipt(self) -> Receipt:
        if self._feed.receipt is None:
            raise RuntimeError('this attachment has no cursor: make it by channel.attach(cursor="...")')
        return self._feed.receipt

    def _ack_handed(self) -> None:
        handed, self._handed = self._handed, None
        if handed is not None and self._auto and self._feed.receipt is not None:
            self._feed.receipt.acknowledge(*handed)

    # --- what happens -------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._ack_handed()
        event = await self._next()
        self._handed = self.position
        return event

    async def _next(self) -> Event:
        feed = self._feed
        while not feed.closed:
            feed.start()
            await self._settle()
            event = self._presence_event() or await self._next_of_log()
            if event is not None:
                return event
            if self._reading.next_one is None and feed.attached is None and not await self._advance():
                await self._more()
        raise StopAsyncIteration

    def _presence_event(self) -> PresenceEvent | None:
        glance = self._feed.glance
        if glance is None:
            return None
        event = glance.pop()
        if event is None and glance.failure is not None:
            raise glance.failure
        if isinstance(event, PresenceSnapshot):
            self._sees_members = True
            self._members = {(member.client_id, member.member_id): member for member in event.members}
        elif isinstance(event, MemberChanged):
            self._note(event.member)
        return event

    def _note(self, member: Member) -> None:
        key = (member.client_id, member.member_id)
        if member.status == "left":
            self._members.pop(key, None)
        else:
            self._members[key] = member

    async def _next_of_log(self) -> Event | None:
        """The next record as an event; None: there is none, or it is nothing to tell of."""
        record = self._reading.next_one
        if record is None:
            return None
        if self._assembly.lacks(record):
            return await self._found(record)
        self._reading.next_record()
        return self._event(record)

    def _event(self, record: Record) -> Event | None:
        operation = record.operation
        change = self._assembly.feed(record)
        if change is not None:
            return MessageChanged(change.message, change.delta, record)
        if operation is None or operation.op is Op.LAPSED:
            return record
        return self._state_event(record) if operation.op in STATE_OPS else None

    def _state_event(self, record: Record) -> Event | None:
        try:
            changed = self._replica.apply(record)
        except Violation as violation:
            self._joins = False
            self._feed.broken(violation)
            return None
        if changed is not None:
            self._snapshot = None
        return changed

    async def _found(self, record: Record) -> Event | None:
        """A message whose beginning is not known is asked for. Only then the record is taken: this may be cancelled."""
        assert record.operation is not None
        message = record.operation.message
        view = None if message in self._lost else await self._ask(message, record.epoch)
        if self._reading.next_one is not record:
            return None
        self._reading.next_record()
        if view is None or view.place < record.offset:
            self._lost.add(message)
            return self._event(record)
        change = self._assembly.put(view)
        return MessageChanged(change.message, change.delta, record)

    async def _ask(self, message: int, epoch: int) -> GrowingMessage | None:
        """None: it cannot be had, for it or its life is over."""
        try:
            return await self._fetch(message, epoch)
        except (UnknownMessage, UnknownChannel, StaleEpoch):
            return None

    # --- another ATTACHED -----------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Takes in what ATTACHED said. While it waits another may come: then that one counts."""
        feed = self._feed
        while (attached := feed.attached) is not None:
            views = await self._quiet(attached) if self._begins_anew(attached) else None
            if feed.attached is not attached:
                continue
            feed.attached = None
            self._through = Position(attached.epoch, attached.through)
            if views is not None:
                self._begin_anew(attached, views)

    def _begins_anew(self, attached: Attached) -> bool:
        """Else what is known goes on with the log: its operations come, and are told in their order."""
        return not self._joins or attached.resync is not None or self.through.epoch != attached.epoch

    async def _quiet(self, attached: Attached) -> list[GrowingMessage]:
        """Open messages that are in no history: their latest operation lies before it. The others will come."""
        before = [message for message in attached.messages if message <= attached.after]
        views = await asyncio.gather(*(self._ask(message, attached.epoch) for message in before))
        return [view for view in views if view is not None and view.place <= attached.after]

    def _begin_anew(self, attached: Attached, views: list[GrowingMessage]) -> None:
        self._joins = True
        self._assembly.clear()
        self._lost.clear()
        for view in views:
            self._assembly.put(view)
        self._replica.reset(StateSnapshot(entries_from(attached.state), self.through))
        self._snapshot = None
