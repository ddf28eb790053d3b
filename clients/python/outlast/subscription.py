"""A subscription: an async iterator of records that survives connections.

`Feed` is its inner half, which the link knows; `Subscription` the outer one, which the user holds. When
the user drops it without closing, the feed is released all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from random import random
from types import TracebackType
from typing import Protocol, Self

from outlast_protocol import Position, frames
from outlast_protocol.session_frames import Attached

from .backoff import Pace, delay_ms
from .cursor import Receipt
from .errors import ConnectionLost, OutlastError, Resync, UnknownChannel, Violation
from .link import Answer, Life, Link
from .reading import Reading
from .records import Record
from .starts import Start

CLOSE_TIMEOUT_S = 1.0


class Seats(Protocol):
    """Who has a link for a feed. The wire allows one subscription per channel and connection."""

    def seat(self, feed: Feed) -> Link: ...

    def leave(self, feed: Feed, link: Link) -> None: ...


class Feed:
    """Keeps one subscription alive over the wires of its link."""

    def __init__(
        self, name: str, reading: Reading, window_bytes: int, seats: Seats, pace: Pace, cursor: str | None = None
    ) -> None:
        self.name = name
        self.receipt = None if cursor is None else Receipt(cursor, pace, self.fail)
        self.reading = reading
        self.failure: OutlastError | None = None
        self.closed = False
        self.abandoned = False
        self.subscribed = False
        self._window_bytes = window_bytes
        self._seats = seats
        self._pace = pace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Link | None = None
        self._life: Life | None = None
        self._attempt = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Takes a seat, once, and a new life of a channel that was deleted. Raises Closed."""
        if self._link is None:
            self._loop = asyncio.get_running_loop()
            self._link = self._seats.seat(self)
            self._subscribe()
        elif self.reading.dormant:
            self.reading.restart()
            self._subscribe()

    async def changed(self) -> None:
        """Returns when something has come. Raises RuntimeError when another task waits already."""
        if self._waiter is not None:
            raise RuntimeError("two tasks iterate one subscription: let one of them read, or subscribe twice")
        assert self._loop is not None
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def grant(self) -> None:
        """Gives credit back for what the user has consumed."""
        due = self.reading.credit_due()
        if due and self.subscribed and self._life is not None and self._link is not None:
            self._link.send(frames.Credit(self._life.number, due))

    def broken(self, violation: Violation) -> None:
        """What came cannot be right: get it again over a new connection."""
        self.reading.lost()
        if self._link is not None:
            self._link.fail(violation)

    def close(self) -> None:
        """Unsubscribes. Records that were not handed over are dropped."""
        if self.closed:
            return
        self.closed = True
        self._let_go()
        self.reading.lost()
        self._wake()

    def release(self) -> None:
        """As `close`, from any thread and at any moment."""
        self.abandoned = True
        if self._loop is not None and not self.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.close)

    def fail(self, error: OutlastError) -> None:
        """Ends the iteration with `error`, after what has come."""
        self.failure = error
        self._let_go()
        self._wake()

    def _let_go(self) -> None:
        """Also while SUBSCRIBE is unanswered: the broker reads UNSUBSCRIBE after it."""
        self._cancel_timer()
        if self.receipt is not None:
            self.receipt.end()
        link, life, self._life = self._link, self._life, None
        self.subscribed = False
        if link is None:
            return
        if life is not None:
            self._unsubscribe(link, life)
        self._seats.leave(self, link)

    def _unsubscribe(self, link: Link, life: Life) -> None:
        link.unroute(life.number)
        link.request(lambda request: frames.Unsubscribe(request, life.number), _ignore)

    # --- called by the link -------------------------------------------------------------------------------

    def link_opened(self) -> None:
        self._attempt = 0
        self._subscribe()

    def link_lost(self) -> None:
        self._cancel_timer()
        self._life = None
        self.subscribed = False
        if self.receipt is not None:
            self.receipt.lost()
        self.reading.lost()

    def delivered(self, batches: bytes) -> None:
        try:
            self.reading.delivered(batches)
        except Violation as violation:
            self.broken(violation)
        else:
            self._wake()

    def resynced(self, resync: frames.Resync) -> None:
        self.reading.resynced(resync)
        if self.reading.ended and self._link is not None:
            self._life = None
            self.subscribed = False
            if self.receipt is not None:
                self.receipt.forget()
            self._link.unroute(resync.number)
            self._link.forget(self.name)
        self._wake()

    # --- subscribing --------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        """A deleted channel waits until its user goes on: a reader alone must not bring it back."""
        link = self._link
        if link is None or not link.is_open or self.closed or self.failure or self.reading.ended:
            return
        life = link.life(self.name)
        if life is None:
            link.open_channel(self.name, self._opened)
            return
        self._life = life
        start = self.reading.ask()
        credit = min(self._window_bytes, link.limits.get("credit_bytes", self._window_bytes))
        link.request(partial(self._frame, life, credit, start), self._subscribed)

    def _frame(self, life: Life, credit: int, start: Start, request: int) -> frames.Frame:
        return frames.Subscribe(request, life.number, credit, *start, cursor=self.reading.asked_cursor)

    def _opened(self, answer: Answer) -> None:
        if isinstance(answer, OutlastError):
            self._refused(answer)
        else:
            self._subscribe()

    def _subscribed(self, answer: Answer) -> None:
        if isinstance(answer, frames.Subscribed | Attached):
            self._accept(answer)
            return
        self._life = None
        if isinstance(answer, UnknownChannel) and self._link is not None:
            self._link.forget(self.name)
            self._subscribe()
        elif isinstance(answer, OutlastError):
            self._refused(answer)

    def _accept(self, answer: frames.Subscribed | Attached) -> None:
        if self._life is None or self._link is None:
            return
        try:
            self.reading.subscribed(answer)
        except Violation as violation:
            self.broken(violation)
            return
        self.subscribed = True
        self._link.route(self._life.number, self)
        if self.receipt is not None:
            self.receipt.enter(self._link, self._life)
        self._wake()

    def _refused(self, error: OutlastError) -> None:
        if isinstance(error, ConnectionLost) or self.closed:
            return
        if not error.retryable:
            self.fail(error)
            return
        assert self._loop is not None
        wait_ms = delay_ms(self._attempt, self._pace, random(), error.retry_after_ms)
        self._attempt += 1
        self._timer = self._loop.call_later(wait_ms / 1000, self._subscribe)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Stream:
    """What follows a channel: a subscription, or an attachment. It has a feed, a place, an end, and says resyncs."""

    def __init__(self, feed: Feed, on_resync: Callable[[Resync], object] | None) -> None:
        self._feed = feed
        self._reading = feed.reading
        self._on_resync = on_resync

    @property
    def position(self) -> Position | None:
        """Up to here everything was handed over: store its text to go on behind it.

        None until the broker has accepted it, and between two lives of a deleted channel.
        """
        return self._reading.position

    @property
    def buffered(self) -> int:
        """Records that have arrived and wait to be iterated."""
        return self._reading.buffered

    async def close(self) -> None:
        """Ends it; an iteration that waits ends, too. May be called twice."""
        self._feed.close()

    @contextlib.contextmanager
    def _entering(self) -> Iterator[None]:
        """Whoever is cancelled before having entered is not going to leave: what was begun is taken back."""
        try:
            yield
        except asyncio.CancelledError:
            self._feed.close()
            raise

    async def _accepted(self) -> None:
        """Returns once the broker has accepted it. Raises what it is refused with."""
        feed = self._feed
        feed.start()
        while not feed.subscribed and not feed.closed:
            if feed.failure is not None:
                raise feed.failure
            await feed.changed()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _advance(self) -> bool:
        """Makes the next records ready. False: nothing has come, now one can wait. Says a resync that has come."""
        try:
            came = self._reading.advance()
        except Violation as violation:
            self._feed.broken(violation)
            came = False
        self._feed.grant()
        if isinstance(came, Resync):
            await self._say(came)
            return True
        return came

    async def _more(self) -> None:
        if self._feed.failure is not None:
            raise self._feed.failure
        await self._feed.changed()

    async def _say(self, resync: Resync) -> None:
        if self._on_resync is None:
            raise resync
        outcome = self._on_resync(resync)
        if inspect.isawaitable(outcome):
            await outcome

    def __del__(self) -> None:
        """A loop left by `break` drops it; the broker is told, from the loop's own thread."""
        self._feed.release()


class Subscription(Stream):
    """Iterate it for records; they are the channel's, in order, each once, and none that is there is left out.

    It begins with the first iteration, or on entering `async with`, which returns once the broker has
    accepted it. Leaving the `async with` block, `close`, or dropping the object ends it.

    What cannot be resumed raises Resync, or is given to `on_resync`. Iterating again goes on.
    """

    def __init__(self, feed: Feed, on_resync: Callable[[Resync], object] | None) -> None:
        super().__init__(feed, on_resync)
        # Set it to end the iteration there, or with that life of the channel. The record there may be one that is gone.
        self.until: Position | None = None

    async def __aenter__(self) -> Self:
        with self._entering():
            await self._accepted()
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        record = self._reading.next_record() if self.until is None else None
        return record if record is not None else await self._refill()

    async def _refill(self) -> Record:
        feed, reading = self._feed, self._reading
        while not feed.closed and not self._is_over():
            if record := reading.next_record():
                return record
            feed.start()
            if not await self._advance() and not self._is_over():
                await self._more()
        raise StopAsyncIteration

    def _is_over(self) -> bool:
        until, position = self.until, self._reading.position
        return until is not None and position is not None and (position.epoch != until.epoch or position >= until)

    async def acked(self) -> None:
        """Returns when everything acknowledged so far is on disk.

        Raises UnknownChannel when the channel was deleted, Closed when the subscription ended before.
        """
        raise RuntimeError('this subscription has no cursor: make it by channel.subscribe(cursor="...")')


class CursorSubscription(Subscription):
    """Its records can be acknowledged. With `auto` each is when the next one is asked for, the last one by `close`.

    A record whose handling raises, or whose loop is left without closing, is not acknowledged: it comes again.
    """

    def __init__(self, feed: Feed, receipt: Receipt, auto: bool, on_resync: Callable[[Resync], object] | None) -> None:
        super().__init__(feed, on_resync)
        self._receipt = receipt
        self._auto = auto
        self._handed: Record | None = None

    async def __anext__(self) -> Record:
        self._ack_handed()
        self._handed = self._receipt.track(await super().__anext__())
        return self._handed

    async def acked(self) -> None:
        await self._receipt.acked()

    async def close(self) -> None:
        """Ends the subscription, once what was acknowledged is on disk, or after a second of trying."""
        self._ack_handed()
        await last_acks(self._feed, self._receipt)
        await super().close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._handed = None
        await self.close()

    def _ack_handed(self) -> None:
        handed, self._handed = self._handed, None
        if handed is not None and self._auto:
            handed.ack()


async def last_acks(feed: Feed, receipt: Receipt) -> None:
    """Returns when what was acknowledged is on disk, or after a second of trying."""
    if not feed.closed and feed.failure is None:
        with contextlib.suppress(TimeoutError, OutlastError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await receipt.acked()


def _ignore(answer: Answer) -> None:
    """UNSUBSCRIBE changes nothing here, however it is answered."""
