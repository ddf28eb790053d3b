"""Asking, and waiting for the answer; answering by a request's number (protocol/CONVENTIONS.md).

All who wait on one channel share a subscription, which lasts as long as anybody waits. It begins with the first request
itself, so no answer can come before it is read, over any number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from outlast_protocol import Position

from .errors import NotAnswered, Resync
from .records import Ack, Message
from .requests import Asked, Ledger, Outcome, Settled, make_acceptance, make_refusal, read_request
from .subscription import Subscription

if TYPE_CHECKING:
    from outlast_protocol import Data

    from .channel import Channel


class Answers:
    """Who waits for answers on one channel."""

    def __init__(self, channel: Channel, client_id: Callable[[], str]) -> None:
        self._channel = channel
        self._client_id = client_id
        self._asking = 0
        self._waiting: dict[Position, asyncio.Future[Outcome]] = {}
        # Answers may be read before the publisher hears of its own request.
        self._early: dict[Position, Outcome] = {}
        self._reading: asyncio.Task[None] | None = None

    # --- asking -------------------------------------------------------------------------------------------

    async def ask(self, request: Message, timeout: float | None) -> Outcome:
        """Publishes a request and returns its outcome. Raises NotAnswered, and Resync when it cannot be known."""
        ack: Ack | None = None
        async with self._attention():
            try:
                async with asyncio.timeout(timeout):
                    ack = await self._channel.publish(request.data, name=request.name, headers=request.headers)
                    return await self._outcome(ack)
            except TimeoutError:
                raise _unanswered(request, 0 if ack is None else ack.offset, timeout or 0) from None

    @asynccontextmanager
    async def _attention(self) -> AsyncIterator[None]:
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                await self._rest()

    async def _rest(self) -> None:
        reading, self._reading = self._reading, None
        self._early.clear()
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})

    async def _outcome(self, ack: Ack) -> Outcome:
        place = ack.position
        if place in self._early:
            return self._early[place]
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read(Position(place.epoch, place.offset - 1)))
        turn: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[place] = turn
        try:
            return await turn
        finally:
            del self._waiting[place]

    # --- reading ------------------------------------------------------------------------------------------

    async def _read(self, after: Position) -> None:
        """Ends with the channel's life: whoever asks in the next one begins to read that."""
        try:
            async with self._channel.subscribe(after=after, on_resync=self._missed) as records:
                await self._follow(records)
        except Exception as error:  # who waits must hear of whatever it is
            self._fail(error, lambda place: True)

    async def _follow(self, records: Subscription) -> None:
        ledger = Ledger()
        async for record in records:
            settled = ledger.read(record)
            if isinstance(settled, Settled):
                self._settle(Position(record.epoch, settled.asked.id), settled.outcome)

    def _settle(self, place: Position, outcome: Outcome) -> None:
        self._early[place] = outcome
        turn = self._waiting.get(place)
        if turn is not None and not turn.done():
            turn.set_result(outcome)

    def _missed(self, resync: Resync) -> None:
        """An answer may have been among the records that nobody can read any more."""
        place = resync.position
        if place is None:
            raise resync
        self._fail(resync, lambda asked: asked.epoch != place.epoch or asked.offset <= place.offset)

    def _fail(self, error: Exception, concerns: Callable[[Position], bool]) -> None:
        for place, turn in self._waiting.items():
            if concerns(place) and not turn.done():
                turn.set_exception(error)

    # --- by a request's number ----------------------------------------------------------------------------

    async def outcome(self, request: int, timeout: float | None) -> Outcome:
        """Of a request that somebody has made, at any time."""
        asked = await self._asked(request)
        records = self._channel.subscribe(after=Position(asked.epoch, request - 1))
        ledger = Ledger(lambda other: other.id == request)
        try:
            async with asyncio.timeout(timeout), records:
                async for record in records:
                    settled = ledger.read(record)
                    if isinstance(settled, Settled):
                        return settled.outcome
        except TimeoutError:
            pass
        raise NotAnswered(f"nobody has answered request {request} in time", detail={"request": request})

    async def accept(self, request: int, data: Data) -> Outcome:
        asked = await self._asked(request)
        if asked.kind == "approval" and asked.client_id == self._client_id():
            raise ValueError(f"request {request} was asked by this client itself: somebody else has to approve it")
        return await self._answer(asked, make_acceptance(request, data))

    async def refuse(self, request: int, reason: str) -> Outcome:
        return await self._answer(await self._asked(request), make_refusal(request, reason))

    async def _asked(self, request: int) -> Asked:
        async for record in self._channel.history(after=request - 1, limit=1):
            asked = read_request(record)
            if asked is not None and asked.id == request:
                return asked
        raise ValueError(f"record {request} of {self._channel.name!r} is no request that can be answered")

    async def _answer(self, asked: Asked, answer: Message) -> Outcome:
        """The answer that counts, which may have been there before this one."""
        ack = await self._channel.publish(answer.data, name=answer.name, headers=answer.headers)
        ledger = Ledger(lambda other: other.id == asked.id)
        after = Position(asked.epoch, asked.id - 1)
        async for record in self._channel.history(after=after, before=ack.offset + 1 if ack.offset else None):
            settled = ledger.read(record)
            if isinstance(settled, Settled):
                return settled.outcome
        raise NotAnswered(f"no answer to request {asked.id} is to be found", detail={"request": asked.id})


def _unanswered(request: Message, number: int, timeout: float) -> NotAnswered:
    which = f"request {number}" if number else "the request, which is not acknowledged either"
    return NotAnswered(f"nobody answered {which} ({request.name}) within {timeout:g} s", detail={"request": number})
