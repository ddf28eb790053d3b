"""Everything published and not yet acknowledged: brings publishers, the link and futures together.

There is one future per publish call and no task. Publishes of one loop turn are sent together at its end.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import random
from typing import TypeAlias

from outlast_protocol.frames import Frame, Publish

from .backoff import Pace
from .delivery import PublishedAck
from .errors import (
    BufferFull,
    Closed,
    ConnectionLost,
    Fenced,
    OutlastError,
    StaleEpoch,
    UnknownChannel,
    UnknownMessage,
)
from .link import Acked, Answer, Life, Link
from .publisher import Entry, Outgoing, Publisher, Tie, check_size
from .records import Ack
from .rows import Row

Ticket: TypeAlias = "asyncio.Future[Ack]"

_log = logging.getLogger("outlast")


class Lane:
    """One channel's way out."""

    __slots__ = ("fenced", "name", "opening", "publisher", "queued", "timer")

    def __init__(self, name: str) -> None:
        self.name = name
        self.publisher: Publisher[Ticket] = Publisher()
        self.opening = False
        self.queued = False
        self.timer: asyncio.TimerHandle | None = None
        # By the token of a lease: who is told when a publish under it is fenced.
        self.fenced: dict[int, Callable[[Fenced], None]] = {}


class Outbox:
    """Takes messages as long as `buffer_bytes` are not exceeded; one message is always let in."""

    def __init__(self, link: Link, buffer_bytes: int, when_full: str, pace: Pace) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._buffer_bytes = buffer_bytes
        self._waits = when_full == "wait"
        self._pace = pace
        self._held_bytes = 0
        self._active: set[Lane] = set()
        self._queued: list[Lane] = []
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._closed = False

    # --- taking -------------------------------------------------------------------------------------------

    def offer(
        self, lane: Lane, rows: Sequence[Row], if_offset: int | None = None, alone: bool = False, fence: int = 0,
        tie: Tie | None = None, always: bool = False,
    ) -> Ticket:  # fmt: skip
        """Queues one publish. Raises BufferFull, TooLarge or Closed, and then nothing was taken.

        `fence` is the token of a lease; `tie` says that and more. What `always` has room is the closing of a message.
        """
        entry = self._entry(rows, if_offset, alone, tie or Tie(fence=fence))
        if not always and not self._fits(entry.held_bytes):
            raise BufferFull(f"{self._held_bytes} bytes wait to be acknowledged of {self._buffer_bytes}")
        self._held_bytes += entry.held_bytes
        return self._accept(lane, entry)

    async def admit(
        self, lane: Lane, rows: Sequence[Row], if_offset: int | None = None, alone: bool = False, fence: int = 0,
        tie: Tie | None = None,
    ) -> Ticket:  # fmt: skip
        """As `offer`, but waits for room when the client was made so; first come, first served."""
        if not self._waits:
            return self.offer(lane, rows, if_offset, alone, fence, tie)
        entry = self._entry(rows, if_offset, alone, tie or Tie(fence=fence))
        if self._fits(entry.held_bytes):
            self._held_bytes += entry.held_bytes
        else:
            await self._room(entry.held_bytes)
        return self._accept(lane, entry)

    def _entry(self, rows: Sequence[Row], if_offset: int | None, alone: bool, tie: Tie) -> Entry[Ticket]:
        if self._closed:
            raise Closed("this client is closed, or not open yet")
        ticket: Ticket = self._loop.create_future()
        entry = Entry(rows, ticket, if_offset, alone, tie)
        check_size(entry, self._link.bounds)
        return entry

    def _accept(self, lane: Lane, entry: Entry[Ticket]) -> Ticket:
        lane.publisher.add(entry)
        self._active.add(lane)
        if not lane.queued and not lane.publisher.on_its_way:
            lane.queued = True
            self._queued.append(lane)
            if len(self._queued) == 1:
                self._loop.call_soon(self._pump_queued)
        return entry.ticket

    def _fits(self, size: int) -> bool:
        return not self._held_bytes or (not self._waiting and self._held_bytes + size <= self._buffer_bytes)

    async def _room(self, size: int) -> None:
        """Returns with `size` bytes set aside."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove((size, turn))
                size = 0
            self._release(size)
            raise

    def _release(self, size: int) -> None:
        """Gives `size` bytes back and lets in who fits now, in the order of coming."""
        self._held_bytes -= size
        while self._waiting:
            size, turn = self._waiting[0]
            if self._held_bytes and self._held_bytes + size > self._buffer_bytes:
                return
            self._waiting.popleft()
            if not turn.done():
                self._held_bytes += size
                turn.set_result(None)
        if not self._held_bytes and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- sending ------------------------------------------------------------------------------------------

    def link_opened(self) -> None:
        for lane in list(self._active):
            self._pump(lane)

    def link_lost(self) -> None:
        """Nothing: every request on its way has been answered with ConnectionLost."""

    def _pump_queued(self) -> None:
        queued, self._queued = self._queued, []
        for lane in queued:
            lane.queued = False
            self._pump(lane)
        self._link.flush()

    def _pump(self, lane: Lane) -> None:
        publisher, link, now_ms = lane.publisher, self._link, self._loop.time() * 1000
        if not link.is_open or lane.opening or publisher.idle or now_ms < publisher.not_before_ms:
            return
        life = link.life(lane.name)
        if life is None:
            lane.opening = True
            link.open_channel(lane.name, partial(self._opened, lane), create=not publisher.is_tied)
            return
        outgoing = publisher.next(link.bounds, now_ms)
        if outgoing is None:
            return
        if not outgoing.is_for(life.epoch):
            self._fail(lane, publisher.expel(life.epoch), _stale(life))
            self._pump(lane)
        else:
            link.request(self._frame(outgoing, life), partial(self._answered, lane, life))

    def _frame(self, outgoing: Outgoing[Ticket], life: Life) -> Callable[[int], Frame]:
        batch = outgoing.bytes_for(self._link.bounds.client_id)
        return lambda request: Publish(
            request, life.number, outgoing.sequence, outgoing.if_offset, outgoing.fence, batch
        )

    # --- answers ------------------------------------------------------------------------------------------

    def _opened(self, lane: Lane, answer: Answer) -> None:
        lane.opening = False
        if isinstance(answer, UnknownChannel) and lane.publisher.is_tied:
            self._fail(lane, lane.publisher.expel(None), answer)
        elif isinstance(answer, OutlastError) and not isinstance(answer, ConnectionLost):
            self._refused(lane, answer)
            if not answer.retryable:
                self._fail(lane, lane.publisher.drain(), answer)
        self._pump(lane)

    def _answered(self, lane: Lane, life: Life, answer: Answer) -> None:
        if isinstance(answer, Acked):
            self._acknowledged(lane, life.epoch, answer)
        elif isinstance(answer, UnknownChannel):
            # Deleted under us: what waits here belongs into the channel's next life.
            self._link.forget(lane.name)
            lane.publisher.lost()
        elif isinstance(answer, ConnectionLost):
            lane.publisher.lost()
        elif isinstance(answer, OutlastError):
            self._refused(lane, answer)
        self._pump(lane)

    def _acknowledged(self, lane: Lane, epoch: int, answer: Acked) -> None:
        offset, held_bytes = answer.offset, 0
        nameless: list[Entry[Ticket]] = []
        for entry in lane.publisher.acknowledged():
            count = len(entry.rows)
            held_bytes += entry.held_bytes
            if entry.tie.anchor is not None and not self._anchored(entry, offset, count, epoch):
                nameless.append(entry)
            if not entry.ticket.done():
                ack = PublishedAck(offset, count, epoch, answer.duplicate)
                ack.wire, ack.channel = self._link, lane.name
                entry.ticket.set_result(ack)
            offset += count if offset else 0
        self._release(held_bytes)
        if nameless:
            self._break(lane, nameless, UnknownMessage("it was opened so long ago that the broker forgot where"))
        self._rest(lane)

    def _anchored(self, entry: Entry[Ticket], offset: int, count: int, epoch: int) -> bool:
        """Whether the message's place is known: of an opening that is a very old duplicate it is not."""
        anchor = entry.tie.anchor
        assert anchor is not None
        if offset:
            anchor.acknowledged(offset, offset + count - 1, epoch)
        return anchor.offset > 0

    def _refused(self, lane: Lane, error: OutlastError) -> None:
        now_ms = self._loop.time() * 1000
        failed = lane.publisher.refused(error, now_ms, self._pace, random())
        if error.retryable:
            _log.warning("publishing to %r waits: %s", lane.name, error)
            self._pump_later(lane, lane.publisher.not_before_ms - now_ms)
        if isinstance(error, Fenced) and failed and failed[0].fence in lane.fenced:
            lane.fenced[failed[0].fence](error)
        self._fail(lane, failed, error)

    def _pump_later(self, lane: Lane, delay_ms: float) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
        # A timer may fire a little early; a millisecond more keeps the pump from finding itself too soon.
        lane.timer = self._loop.call_later((delay_ms + 1) / 1000, self._pump, lane)

    def _fail(self, lane: Lane, entries: list[Entry[Ticket]], error: OutlastError) -> None:
        for entry in entries:
            if not entry.ticket.done():
                entry.ticket.set_exception(copy.copy(error))
            self._release(entry.held_bytes)
        self._break(lane, [entry for entry in entries if entry.tie.anchor is not None], error)
        self._rest(lane)

    def _break(self, lane: Lane, entries: list[Entry[Ticket]], error: OutlastError) -> None:
        """What waits to be said of the same messages fails, too. Their writers say so: no future has to."""
        anchors = {entry.tie.anchor for entry in entries if entry.tie.anchor is not None}
        for anchor in anchors:
            anchor.failure = anchor.failure or error
        for entry in entries:
            if entry.ticket.done() and not entry.ticket.cancelled():
                entry.ticket.exception()
        if anchors and (followers := lane.publisher.withdraw(anchors)):
            self._fail(lane, followers, error)

    def _rest(self, lane: Lane) -> None:
        if lane.publisher.idle:
            self._active.discard(lane)

    # --- the end ------------------------------------------------------------------------------------------

    async def settled(self, lane: Lane, fence: int) -> None:
        """Returns when nothing that was published under this token waits for its answer."""
        while (entry := lane.publisher.last_under(fence)) is not None:
            if entry.ticket.cancelled():
                # Its caller has gone, and is told nothing; the publish itself is still on its way.
                entry.ticket = self._loop.create_future()
                entry.ticket.add_done_callback(lambda ticket: ticket.cancelled() or ticket.exception())
            await asyncio.wait({entry.ticket})

    async def close(self, timeout: float) -> None:
        """Waits up to `timeout` seconds for acknowledgements, then fails what is left with Closed."""
        if not self._held_bytes:
            self._closed = True
            return
        self._drained = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._drained
        except TimeoutError:
            _log.warning("closed with %d bytes of publishes not acknowledged", self._held_bytes)
        finally:
            self._abandon(timeout)

    def _abandon(self, timeout: float) -> None:
        self._closed = True
        error = Closed(f"closed before the broker acknowledged this, after waiting {timeout:g} s for it")
        waiting, self._waiting = self._waiting, deque()
        for _, turn in waiting:
            if not turn.done():
                turn.set_exception(copy.copy(error))
        for lane in list(self._active):
            if lane.timer is not None:
                lane.timer.cancel()
            self._fail(lane, lane.publisher.drain(), error)


def _stale(life: Life) -> StaleEpoch:
    text = "the channel was deleted and made anew: this was meant for its earlier life"
    return StaleEpoch(text, detail={"epoch": f"{life.epoch:016x}"})
