"""One throw-away channel: what was sent, acknowledged and delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from outlast import Ack, Channel, Subscription


class Lane:
    """`out` publishes, `back` reads, over another connection. `base` is the offset before the first that counts."""

    def __init__(self, out: Channel, back: Channel, base: int) -> None:
        self.out = out
        self.back = back
        self.base = base
        self.sent = 0
        self.acked = 0
        self.delivered = 0
        self._wanted = -1
        self._complete = asyncio.Event()

    async def publish(self, data: bytes) -> None:
        self.sent += 1
        await self.out.publish(data)
        self.acked += 1

    async def publish_many(self, batch: Sequence[bytes]) -> None:
        self.sent += len(batch)
        self.acked += (await self.out.publish_many(batch)).records

    def publish_nowait(self, data: bytes) -> asyncio.Future[Ack]:
        """Whoever awaits the future counts it in `acked`."""
        future = self.out.publish_nowait(data)
        self.sent += 1
        return future

    async def follow(self, records: Subscription, seen: Callable[[Lane], object] | None) -> None:
        """Counts what comes as long as it comes in dense order; a hole leaves the lane incomplete."""
        async for record in records:
            self.delivered += record.offset == self.base + self.delivered + 1
            if seen is not None:
                seen(self)
            if self.delivered == self._wanted:
                self._complete.set()

    async def drained(self) -> None:
        """Returns when the reader has had everything that was sent."""
        self._wanted = self.sent
        if self.delivered < self._wanted:
            await self._complete.wait()


async def drained(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        await lane.drained()


@asynccontextmanager
async def followed(lanes: Sequence[Lane], seen: Callable[[Lane], object] | None = None) -> AsyncIterator[None]:
    """Inside, each lane has a reader that calls `seen(lane)` after each record; it reads from the first that counts."""
    async with AsyncExitStack() as stack, workers() as group:
        subscriptions = [await stack.enter_async_context(lane.back.subscribe(after=lane.base)) for lane in lanes]
        for lane, records in zip(lanes, subscriptions, strict=True):
            group.create_task(lane.follow(records, seen))
        yield
        for records in subscriptions:
            await records.close()


@asynccontextmanager
async def workers() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup whose first error is raised as itself, for those who know what to say about it."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
