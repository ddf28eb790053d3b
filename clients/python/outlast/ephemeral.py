"""Ephemeral messages: told to whoever subscribes at this moment, stored nowhere (PROTOCOL.md 6.14).

They come to a connection for the channels that it subscribes to. So a client that listens hears them by the
subscription that it has; while it has none, an `Ear` subscribes in its stead and makes room for any that comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from outlast_protocol import Data, Headers, ProtocolError, frames
from outlast_protocol.batch import read_records
from outlast_protocol.limits import CONTROL_FRAME_BYTES_MAX

from .backoff import Pace
from .errors import Closed, OutlastError, TooLarge, UnknownChannel, Violation
from .link import Answer, Life, Link
from .reading import DELIVER_HEAD_BYTES, Reading
from .records import from_store, moment
from .rows import Row, batch_bytes, encode_rows
from .starts import Start
from .subscription import Feed, Seats

FRAME_HEAD_BYTES = 20
# Records that come while nobody reads them are dropped, so this only has to be more than one commit brings.
WINDOW_BYTES = 1_048_576
# What may wait for the answer to OPEN, before the first message of a connection to a channel.
OPENING_MAX = 64

_log = logging.getLogger("outlast")


class EphemeralMessage(NamedTuple):
    """`data` as it was sent. `time_ms` is Unix time in ms at which the broker passed it on."""

    data: Data
    name: str | None
    headers: Headers
    client_id: str
    time_ms: int

    @property
    def time(self) -> datetime:
        """`time_ms` as an aware datetime in UTC."""
        return moment(self.time_ms)


class Mouth:
    """One channel's ephemeral messages on their way out. Nothing is kept over a connection's end."""

    def __init__(self, name: str, link: Link) -> None:
        self._name = name
        self._link = link
        self._request = 0
        self._opening = False
        self._waiting: deque[Row] = deque(maxlen=OPENING_MAX)

    def send(self, row: Row) -> bool:
        """Whether it was handed to a connection that takes it. Raises TooLarge."""
        link = self._link
        size = FRAME_HEAD_BYTES + batch_bytes(link.bounds.client_id, (row,))
        if size > CONTROL_FRAME_BYTES_MAX:
            values: dict[str, int | str] = {"limit": CONTROL_FRAME_BYTES_MAX, "value": size}
            raise TooLarge(f"{size} bytes as a frame, allowed are {CONTROL_FRAME_BYTES_MAX}", detail=values)
        if not link.has_room:
            return False
        life = link.life(self._name)
        if life is None:
            self._open(row)
        else:
            self._tell(life, row)
        return True

    def _open(self, row: Row) -> None:
        """A channel that does not exist has no readers, and does not come to be for this."""
        self._waiting.append(row)
        if not self._opening:
            self._opening = True
            self._link.open_channel(self._name, self._opened, create=False)

    def _opened(self, answer: Answer) -> None:
        self._opening = False
        life = self._link.life(self._name)
        while self._waiting:
            row = self._waiting.popleft()
            if life is not None:
                self._tell(life, row)

    def _tell(self, life: Life, row: Row) -> None:
        self._request = self._request or self._link.reserve(self._refused)
        batch = encode_rows(self._link.bounds.client_id, (row,))
        self._link.send(frames.Ephemeral(self._request, life.number, batch))

    def _refused(self, answer: Answer) -> None:
        if isinstance(answer, UnknownChannel):
            self._link.forget(self._name)
        else:
            _log.warning("an ephemeral message to %r was refused: %s", self._name, answer)


# --- listening ----------------------------------------------------------------------------------------------


class LiveEdge(Reading):
    """Keeps nothing of what is delivered, and begins with what is new on every connection."""

    def __init__(self) -> None:
        super().__init__(Start(start="latest"), WINDOW_BYTES)

    def ask(self) -> Start:
        self.position = None
        return super().ask()

    def delivered(self, batches: bytes) -> None:
        self._consumed += DELIVER_HEAD_BYTES + len(batches)

    def resynced(self, frame: frames.Resync) -> None:
        self.ended = frame.reason == "deleted"


class Ear(Feed):
    """A subscription for ephemeral messages alone. To its link it is an abandoned one: others may have its seat."""

    def __init__(self, name: str, seats: Seats, pace: Pace, hearing: Hearing) -> None:
        super().__init__(name, LiveEdge(), WINDOW_BYTES, seats, pace)
        self.abandoned = True
        self._hearing = hearing

    def delivered(self, batches: bytes) -> None:
        super().delivered(batches)
        self.grant()

    def resynced(self, resync: frames.Resync) -> None:
        super().resynced(resync)
        if self.reading.ended:
            self.fail(UnknownChannel(f"the channel {self.name!r} was deleted: listen again for its next life"))

    def fail(self, error: OutlastError) -> None:
        super().fail(error)
        self._hearing.fail(self.name, error)


class Hearer:
    """What one hearer has not taken yet: the newest `limit` messages."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.queue: deque[EphemeralMessage] = deque(maxlen=limit)
        self.dropped = 0
        self.failure: OutlastError | None = None
        self.closed = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: EphemeralMessage) -> None:
        self.dropped += len(self.queue) == self.queue.maxlen
        self.queue.append(message)
        self.wake()

    def fail(self, error: OutlastError) -> None:
        self.failure = error
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def changed(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two tasks iterate one hearer: let one of them read, or listen twice")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Places(Seats, Protocol):
    """Who knows by which link a channel is subscribed."""

    def seated(self, name: str) -> Link | None: ...


class Hearing:
    """All hearers of one client. It is told what comes, and of subscriptions that begin and end."""

    def __init__(self, places: Places, pace: Pace) -> None:
        self._places = places
        self._pace = pace
        self._hearers: dict[str, list[Hearer]] = {}

    def join(self, hearer: Hearer) -> None:
        """Raises Closed."""
        self._hearers.setdefault(hearer.name, []).append(hearer)
        try:
            self._sit(hearer.name)
        except Closed:
            self.part(hearer)
            raise

    def part(self, hearer: Hearer) -> None:
        hearers = self._hearers.get(hearer.name, [])
        if hearer in hearers:
            hearers.remove(hearer)
        if not hearers:
            self._hearers.pop(hearer.name, None)
            self._rise(hearer.name)

    def is_live(self, name: str) -> bool:
        """Whether what is told there comes here."""
        link = self._places.seated(name)
        return link is not None and link.reads(name)

    def fail(self, name: str, error: OutlastError) -> None:
        for hearer in self._hearers.pop(name, []):
            hearer.fail(error)

    def close(self) -> None:
        for name in list(self._hearers):
            self.fail(name, Closed("the client was closed"))

    def _sit(self, name: str) -> None:
        if name in self._hearers and self._places.seated(name) is None:
            Ear(name, self._places, self._pace, self).start()

    def _rise(self, name: str) -> None:
        link = self._places.seated(name)
        reader = link.readers.get(name) if link is not None else None
        if isinstance(reader, Ear):
            reader.close()

    # --- told by the client and its links -----------------------------------------------------------------

    def began(self, name: str) -> None:
        for hearer in self._hearers.get(name, ()):
            hearer.wake()

    def ended(self, feed: Feed) -> None:
        """A subscription has left its seat. One that only listened was asked to, or has failed."""
        if not isinstance(feed, Ear):
            try:
                self._sit(feed.name)
            except Closed as error:
                self.fail(feed.name, error)

    def heard(self, link: Link, name: str, batch: bytes) -> None:
        """Several links may read one channel; the first of them is listened to."""
        hearers = self._hearers.get(name)
        if not hearers or self._places.seated(name) is not link:
            return
        try:
            messages = read_messages(batch)
        except (ProtocolError, ValueError, LookupError) as error:
            link.fail(Violation(f"an ephemeral message cannot be read: {error}"))
            return
        for message in messages:
            for hearer in hearers:
                hearer.put(message)


def read_messages(batch: bytes) -> list[EphemeralMessage]:
    """Raises ProtocolError, ValueError or LookupError for bytes that are no batch."""
    return [
        EphemeralMessage(record.data, record.name, record.headers, record.client_id, record.time_ms)
        for record in from_store(read_records(batch), 0)
    ]


class Ephemerals:
    """Iterate it for the ephemeral messages of a channel, from now on.

    It begins with the first iteration, or on entering `async with`, which returns once they come here.
    Leaving the block, `close`, or dropping the object ends it.
    """

    def __init__(self, hearer: Hearer, hearing: Hearing) -> None:
        self._hearer = hearer
        self._hearing = hearing
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def dropped(self) -> int:
        """How many were not iterated in time, and made room for newer ones here."""
        return self._hearer.dropped

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._hearing.join(self._hearer)

    async def close(self) -> None:
        """Ends it; an iteration that waits ends, too. May be called twice."""
        self._end()

    def _end(self) -> None:
        if not self._hearer.closed:
            self._hearer.closed = True
            self._hearing.part(self._hearer)
            self._hearer.wake()

    async def __aenter__(self) -> Self:
        self._start()
        hearer = self._hearer
        while not hearer.closed and not self._hearing.is_live(hearer.name):
            if hearer.failure is not None:
                raise hearer.failure
            await hearer.changed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EphemeralMessage:
        """Raises Closed when the client is, and UnknownChannel when the channel was deleted."""
        self._start()
        hearer = self._hearer
        while not hearer.closed:
            if hearer.queue:
                return hearer.queue.popleft()
            if hearer.failure is not None:
                raise hearer.failure
            await hearer.changed()
        raise StopAsyncIteration

    def __del__(self) -> None:
        """A loop left by `break` drops it; its end comes from the loop's own thread."""
        hearer, hearing = self._hearer, self._hearing
        if self._loop is not None and not hearer.closed and not self._loop.is_closed():
            hearer.closed = True
            self._loop.call_soon_threadsafe(hearing.part, hearer)
