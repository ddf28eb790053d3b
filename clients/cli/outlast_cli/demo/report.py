"""The agent's hand: what it writes into the channel, and what of that the broker has acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from outlast import Ack, BufferFull, Data, Lease, MessageWriter

from .part import tell
from .tally import Tally, data_bytes

NEWS_EVERY_S = 0.1


class Report:
    """Writes under a lease, without waiting for the disk, and counts in the order of the channel's offsets."""

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._loop = asyncio.get_running_loop()
        self._latest: asyncio.Future[Ack] | None = None
        self._talking: set[asyncio.Task[None]] = set()
        # Acknowledged, and not counted yet: acknowledgements of different messages come in any order.
        self._ahead: dict[int, bytes] = {}
        self._told_s = 0.0
        self.tally = Tally()
        self.written = 0
        self.duplicates = 0
        self.file = ""

    def begin(self, lease: Lease, tally: Tally) -> None:
        """Behind `tally`, what was written before."""
        self._lease, self.tally, self.written = lease, tally, tally.records

    def on_state(self, state: str, reason: str) -> None:
        self.tell_progress()
        tell("state", state=state)

    @property
    def lease(self) -> Lease:
        assert self._lease is not None
        return self._lease

    # --- writing ------------------------------------------------------------------------------------------

    async def write(self, name: str, data: Data) -> None:
        """A record of its own."""
        await self._offer(lambda: self.lease.publish_nowait(data, name=name), data)

    async def append(self, message: MessageWriter, text: str) -> None:
        await self._offer(lambda: message.append_nowait(text), text)

    def open(self, name: str, title: str = "") -> MessageWriter:
        """A message with nothing in it."""
        message = self.lease.message(name=name, headers={"file": title})
        self._talk(self._opened(message))
        return message

    def complete(self, message: MessageWriter) -> None:
        self._talk(self._closed(message.complete()))

    def cancel(self, message: MessageWriter, reason: str) -> None:
        self._talk(self._closed(message.cancel(reason), reason))

    async def settled(self) -> None:
        """Everything that was written is on the broker's disk."""
        await asyncio.gather(*self._talking)
        if self._latest is not None:
            await self._latest

    async def _offer(self, publish: Callable[[], asyncio.Future[Ack]], data: Data) -> None:
        """Waits for nothing but room in the client's buffer."""
        try:
            future = publish()
        except BufferFull:
            await self.settled()
            future = publish()
        future.add_done_callback(lambda done: self._acknowledged(done.result(), data))
        self._latest = future
        self._wrote()

    def _talk(self, talk: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(talk)
        self._talking.add(task)
        self._wrote()

    async def _opened(self, message: MessageWriter) -> None:
        await message.flush()
        self._count(message.id, b"")

    async def _closed(self, closing: Coroutine[Any, Any, Ack], reason: str = "") -> None:
        self._acknowledged(await closing, reason)

    # --- counting -----------------------------------------------------------------------------------------

    def _acknowledged(self, ack: Ack, data: Data) -> None:
        self.duplicates += ack.duplicate
        self._count(ack.offset, data_bytes(data))

    def _count(self, offset: int, data: bytes) -> None:
        self._ahead[offset] = data
        while (due := self._ahead.pop(self.tally.last + 1, None)) is not None:
            self.tally.add(self.tally.last + 1, due)

    def _wrote(self) -> None:
        self.written += 1
        if self._loop.time() - self._told_s > NEWS_EVERY_S:
            self.tell_progress()

    def tell_progress(self) -> None:
        if self._lease is None:
            return
        self._told_s = self._loop.time()
        digest = self.tally.account().sha256
        known = {"acknowledged": self.tally.records, "sha256": digest, "duplicates": self.duplicates}
        tell("progress", written=self.written, file=self.file, **known)
