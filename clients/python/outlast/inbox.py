"""An inbox: the requests of a channel that nobody has answered yet, one after the other (protocol/CONVENTIONS.md).

A task reads along while its user works, for that is how the user hears of a cancel. The cursor stands before the first
request that is open: after a restart the open ones come again, and no others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from outlast_protocol import Data, Position

from .cursor import TrackedRecord
from .errors import Closed, OutlastError, Resync
from .records import Ack, Message, moment
from .requests import (
    KINDS,
    Asked,
    Kind,
    Ledger,
    Outcome,
    Reference,
    Settled,
    make_acceptance,
    make_refusal,
    number_of,
)
from .subscription import Subscription

if TYPE_CHECKING:
    from .channel import Channel

# Records that are no requests move the cursor, too, but not each of them.
ACK_EVERY = 1_000

_log = logging.getLogger("outlast")


class Request:
    """A request that waits for an answer. `id` is its number, `message` that of what it refers to, or None."""

    def __init__(self, inbox: Inbox, asked: Asked) -> None:
        self._inbox = inbox
        self._asked = asked
        self.settled: Settled | None = None
        # The inbox answers it by itself.
        self.taken = False
        self.over = asyncio.Event()

    def __repr__(self) -> str:
        return f"<outlast.Request {self.id} {self.kind} from {self.client_id!r}>"

    @property
    def id(self) -> int:
        return self._asked.id

    @property
    def kind(self) -> Kind:
        """ "prompt", "cancel", "steer" or "approval"."""
        return self._asked.kind

    @property
    def message(self) -> int | None:
        return self._asked.message

    @property
    def text(self) -> str:
        return self._asked.text

    @property
    def data(self) -> dict[str, Data]:
        """Everything that was said, `text` too."""
        return self._asked.data

    @property
    def client_id(self) -> str:
        """Who asks."""
        return self._asked.client_id

    @property
    def time(self) -> datetime:
        return moment(self._asked.time_ms)

    @property
    def outcome(self) -> Outcome | None:
        """The answer that counts, None as long as there is none."""
        return None if self.settled is None else self.settled.outcome

    async def accept(self, data: Data = None) -> bool:
        """Says that it will be done, or is; with `data` for the one who asks. On disk when this returns.

        False when another answer was there before, and counts: then leave the work to whoever gave it. False, too, when
        the request is gone from the log. Raises Closed when the inbox ends meanwhile.
        """
        return await self._inbox.answer(self, make_acceptance(self.id, data))

    async def refuse(self, reason: str) -> bool:
        """Says that it will not be done, and why. Returns as `accept`."""
        return await self._inbox.answer(self, make_refusal(self.id, reason))


class Cancellation:
    """Set once a cancel for one of its messages is accepted; the inbox accepts each as long as this is open.

    Use it as an asyncio.Event, and in a `with` block, so that a cancel that comes too late is not accepted.
    """

    def __init__(self, inbox: Inbox, messages: frozenset[int]) -> None:
        self._inbox = inbox
        self.messages = messages
        self._event = asyncio.Event()
        self._by: Asked | None = None

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    @property
    def text(self) -> str:
        """The reason that was given, if any."""
        return self._by.text if self._by is not None else ""

    @property
    def client_id(self) -> str | None:
        """Who has cancelled it."""
        return self._by.client_id if self._by is not None else None

    def set(self, asked: Asked) -> None:
        if self._by is None:
            self._by = asked
            self._event.set()

    def close(self) -> None:
        """From now on cancels are requests like others: answer them yourself."""
        self._inbox.unwatch(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Inbox:
    """Made by `channel.inbox(...)`. Enter it, then iterate it; several tasks may.

    Iterating raises Resync as a subscription does, and goes on when iterated again: requests may have been lost.
    """

    def __init__(
        self, channel: Channel, records: Subscription, kinds: Collection[Kind], client_id: str, waiting_max: int
    ) -> None:
        self._channel = channel
        self._records = records
        self._kinds = frozenset(kinds)
        self._client_id = client_id
        self._waiting_max = waiting_max
        self._ledger = Ledger(self._is_wanted)
        self._requests: dict[int, Request] = {}
        self._queue: deque[Request | Resync] = deque()
        self._cancellations: list[Cancellation] = []
        self._end: Position | None = None
        self._read: TrackedRecord | None = None
        self._acked = 0
        self._news = asyncio.Event()
        self._going_on = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def _is_wanted(self, asked: Asked) -> bool:
        """One's own question is for others to answer."""
        return asked.kind in self._kinds and not (asked.kind == "approval" and asked.client_id == self._client_id)

    # --- its user -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._reading is not None:
            raise RuntimeError("an inbox can be entered once: call channel.inbox() again for another one")
        await self._records.__aenter__()
        try:
            self._end = (await self._channel.info()).position
        except BaseException:
            await self._records.close()
            raise
        self._catch_up(self._records.position)
        self._reading = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends it; what is not answered comes again in the next inbox with this cursor. May be called twice."""
        if self._reading is None:
            return
        self._reading.cancel()
        await asyncio.wait({self._reading})
        self._fail(Closed("the inbox was closed"))
        self._acknowledge()
        await self._records.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Request:
        if self._reading is None:
            raise RuntimeError("enter the inbox first: async with channel.inbox(...) as inbox")
        while True:
            request = self._next()
            if request is not None:
                return request
            if isinstance(self._failure, Closed) and self._reading.cancelled():
                raise StopAsyncIteration
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()

    def _next(self) -> Request | None:
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, Resync):
                self._going_on.set()
                raise item
            if not item.taken and not item.over.is_set():
                return item
        return None

    def cancelled(self, *messages: Reference) -> Cancellation:
        """Watches for cancels of these messages or requests, and accepts them, those that wait here already too."""
        if "cancel" not in self._kinds:
            raise ValueError('this inbox reads no cancels: make it with kinds that have "cancel"')
        if not messages:
            raise ValueError("say which message, or which request, may be cancelled")
        watch = Cancellation(self, frozenset(number_of("the message", message) for message in messages))
        self._cancellations.append(watch)
        for request in self._requests.values():
            self._take_cancel(request)
        return watch

    def unwatch(self, watch: Cancellation) -> None:
        if watch in self._cancellations:
            self._cancellations.remove(watch)

    async def answer(self, request: Request, answer: Message) -> bool:
        """Returns whether this answer is the one that counts, once that is known."""
        ack: Ack | None = None
        if not request.over.is_set():
            if self._failure is not None:
                raise self._failure
            ack = await self._channel.publish(answer.data, name=answer.name, headers=answer.headers)
        await request.over.wait()
        if request.settled is None and self._failure is not None:
            raise self._failure
        return ack is not None and request.settled is not None and ack.offset in (0, request.settled.offset)

    # --- reading along ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while await self._follow():
                await self._going_on.wait()
        except Exception as error:  # its user must hear of whatever it is
            self._fail(error)
        else:
            self._fail(Closed("the inbox's subscription has ended"))

    async def _follow(self) -> bool:
        """Reads up to the end, or to a resync, of which the user is told."""
        try:
            async for record in self._records:
                assert isinstance(record, TrackedRecord)
                self._take(record)
        except Resync as resync:
            self._missed(resync)
            return True
        return False

    def _take(self, record: TrackedRecord) -> None:
        came = self._ledger.read(record)
        self._read = record
        if isinstance(came, Asked):
            request = self._requests[came.id] = Request(self, came)
            if self._end is None:
                self._offer(request)
        elif isinstance(came, Settled):
            self._settle(came)
        self._catch_up(record.position)
        if isinstance(came, Settled) or record.offset - self._acked >= ACK_EVERY:
            self._acknowledge()

    def _settle(self, settled: Settled) -> None:
        request = self._requests.pop(settled.asked.id)
        request.settled = settled
        request.over.set()
        if settled.asked.kind == "cancel" and settled.outcome.accepted:
            for watch in self._cancellations:
                if settled.asked.message in watch.messages:
                    watch.set(settled.asked)

    def _catch_up(self, position: Position | None) -> None:
        """Only what was there at the start and is still open then has to be done."""
        end = self._end
        if end is None or position is None or (position.epoch == end.epoch and position.offset < end.offset):
            return
        self._end = None
        for request in self._requests.values():
            self._offer(request)

    def _offer(self, request: Request) -> None:
        if self._take_cancel(request):
            return
        if len(self._queue) >= self._waiting_max:
            self._answer_later(request, make_refusal(request.id, f"{self._waiting_max} requests wait here already"))
            return
        self._queue.append(request)
        self._news.set()

    def _take_cancel(self, request: Request) -> bool:
        """Accepts a cancel that somebody watches for; its user need not see it."""
        watched = any(request.message in watch.messages for watch in self._cancellations)
        if request.kind != "cancel" or not watched or self._end is not None:
            return False
        self._answer_later(request, make_acceptance(request.id))
        return True

    def _answer_later(self, request: Request, answer: Message) -> None:
        if request.taken:
            return
        try:
            future = self._channel.publish_nowait(answer.data, name=answer.name, headers=answer.headers)
        except OutlastError as error:
            _log.warning("request %d could not be answered: %s", request.id, error)
            return
        request.taken = True
        future.add_done_callback(_tell_failure)

    def _missed(self, resync: Resync) -> None:
        """Requests of another life, or past retention, are nobody's to answer."""
        place = resync.position
        epoch = self._read.epoch if self._read is not None else None
        same_life = place is not None and place.epoch == epoch
        gone = self._ledger.forget(place.offset + 1 if place is not None and same_life else 2**64)
        for asked in gone:
            self._requests.pop(asked.id).over.set()
        if not same_life:
            self._read = None
        self._acked = 0
        self._going_on.clear()
        if place is not None:
            self._going_on.set()
        self._catch_up(place)
        self._queue.append(resync)
        self._news.set()

    def _acknowledge(self) -> None:
        """Up to the first request that is open."""
        if self._read is not None:
            self._acked = self._read.offset
            self._read.receipt.acknowledge(self._read.epoch, self._ledger.done(self._read.offset))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._news.set()
        for request in self._requests.values():
            request.over.set()


def _tell_failure(future: asyncio.Future[Ack]) -> None:
    if not future.cancelled() and future.exception() is not None:
        _log.warning("a request could not be answered: %s", future.exception())


def kinds_of(kinds: Collection[str]) -> Collection[Kind]:
    """`kinds` if an inbox can have them."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if isinstance(kinds, str) or unknown or not kinds:
        raise ValueError(f"kinds is {kinds!r}, expected some of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in kinds]
