"""A replica of a channel's state that follows by itself, over connections and resyncs (PROTOCOL.md 4.6, 6.10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from outlast_protocol import Data, Position

from .errors import Closed, OutlastError, Resync, StaleEpoch, UnknownChannel
from .records import Record
from .replica import Changes, Replica, StateChanged, StateEntry, StateSnapshot
from .starts import Where, read_where
from .subscription import Subscription

Fetch = Callable[[], Awaitable[StateSnapshot]]


class StateWatch(Mapping[str, Data]):
    """A channel's state as it is now: a mapping of keys to values, inside `async with`.

    Iterate it with `async for` for its changes since it was entered, in the order of the log. The mapping does not
    wait for that: it may be ahead of the change that was handed over. Who lags by more than a thousand changes gets
    the newest of each key, and so it is where operations are past retention: steps are left out, and no key is missed.

    When the channel is deleted its keys are, and then the iteration raises Resync; iterating again goes on in its
    next life.
    """

    def __init__(self, subscription: Subscription, fetch: Fetch) -> None:
        self._subscription = subscription
        self._fetch = fetch
        self._replica = Replica()
        self._changes = Changes({})
        self._task: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._iterated = False
        self._closed = False
        # The channel was deleted: what its user is still to be told, and whether following has stopped for that.
        self._deleted: Resync | None = None
        self._dormant = False
        self._passed_epoch: int | None = None
        self._failure: OutlastError | None = None

    # --- what it holds ------------------------------------------------------------------------------------

    @property
    def entries(self) -> Mapping[str, StateEntry]:
        """With versions, times and clients. Raises what ended the watch, for what it holds is of no use then."""
        if self._failure is not None:
            raise self._failure
        return self._replica.entries

    @property
    def position(self) -> Position:
        """Of the last record that is in it."""
        return self._replica.position

    def __getitem__(self, key: str) -> Data:
        return self.entries[key].value

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<outlast.StateWatch at {self.position}: {len(self._replica.entries)} keys>"

    def version(self, key: str) -> int:
        """The offset that wrote `key`; 0: there is no such key. As `set` and `delete` take it."""
        entry = self.entries.get(key)
        return 0 if entry is None else entry.version

    async def reached(self, offset: Where) -> None:
        """Returns when everything up to `offset` is in it: what one's own Ack says, say.

        `offset` may be a Position or its text: StaleEpoch when that life of the channel is over.
        """
        number, epoch = read_where("offset", offset)
        while True:
            have = self._replica.position
            if epoch not in (None, have.epoch):
                raise StaleEpoch("the channel was deleted", detail={"epoch": str(have).partition(":")[0]})
            if have.offset >= number:
                return
            self._check_follows()
            await self._changed()

    def _check_follows(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._dormant:
            raise UnknownChannel("the channel was deleted before it came to this offset")
        if self._closed:
            raise Closed("the watch was closed before it came to this offset")

    # --- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a watch can be entered once: make another one by channel.state.watch()")
        try:
            await self._begin()
        except BaseException:
            await self._subscription.close()
            raise
        self._changes = Changes(self._replica.entries)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends it; an iteration that waits ends, too. What it holds stays as it was. May be called twice."""
        self._closed = True
        await self._subscription.close()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        self._wake()

    async def _begin(self) -> None:
        """Subscribes first: what the snapshot does not hold then comes, and what it holds is known by its offset."""
        await self._subscription.__aenter__()
        await self._refresh()
        self._dormant = False
        self._task = asyncio.get_running_loop().create_task(self._follow())

    # --- following ----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            while not self._dormant:
                await self._step()
        except StopAsyncIteration:
            self._closed = True
        except OutlastError as error:
            self._failure = error
            await self._subscription.close()
        finally:
            self._wake()

    async def _step(self) -> None:
        try:
            record = await anext(self._subscription)
        except Resync as resync:
            await self._resync(resync)
        else:
            await self._take(record)
        self._wake()

    async def _resync(self, resync: Resync) -> None:
        if resync.position is not None:
            await self._refresh()
            return
        self._changes.add(self._replica.reset(StateSnapshot({}, Position(self._replica.position.epoch, 0))))
        self._deleted, self._dormant = resync, True

    async def _take(self, record: Record) -> None:
        """A record of another life: either the snapshot is too old, or it knew already that this life is over."""
        if record.epoch not in (self._replica.position.epoch, self._passed_epoch):
            self._passed_epoch = record.epoch
            await self._refresh()
        if record.epoch == self._replica.position.epoch:
            change = self._replica.apply(record)
            self._changes.add(() if change is None else (change,))

    async def _refresh(self) -> None:
        """A channel that was deleted meanwhile holds nothing; the subscription will say so next."""
        try:
            snapshot = await self._fetch()
        except UnknownChannel:
            snapshot = StateSnapshot({}, Position(0, 0))
        self._changes.add(self._replica.reset(snapshot))

    # --- handing over -------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StateChanged:
        if self._iterated:
            raise RuntimeError("two tasks iterate one watch: let one of them read, or watch twice")
        self._iterated = True
        try:
            return await self._next()
        finally:
            self._iterated = False

    async def _next(self) -> StateChanged:
        while True:
            change = self._changes.take(self._replica)
            if change is not None:
                return change
            await self._go_on()

    async def _go_on(self) -> None:
        """Returns when something may have changed. Of a deletion the user is told first, once."""
        resync, self._deleted = self._deleted, None
        if resync is not None:
            raise resync
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise StopAsyncIteration
        if self._dormant:
            await self._begin()
        else:
            await self._changed()

    async def _changed(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        try:
            await turn
        finally:
            self._waiting.discard(turn)

    def _wake(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
