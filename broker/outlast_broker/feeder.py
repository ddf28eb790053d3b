"""Serves readers that are behind from the log, each at its own pace (promise 5: slow readers harm nobody).

Each connection has at most one slice under way, whatever its number of subscriptions, and none while its
socket is clogged: so a stalled reader costs one slice of memory, and the log remembers the rest.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode
from outlast_protocol.batch import spans
from outlast_protocol.frames import Error, Resync, deliver_head, encode

from . import clock, folded
from .chunk import Chunk, group_batches
from .damage import Damaged
from .folded import Seen
from .log import Log
from .metering.counters import Counters
from .outbox import Outbox
from .pages import Cut
from .session import Snapshot
from .subscription import Subscription

if TYPE_CHECKING:
    from .connection import ClientConnection

# Large enough that replay is cheap; it goes out in frames of a chunk each, for lines that keep breaking.
SLICE_BYTES = 262_144


class Feeder:
    """`read` runs a log's read in the reading thread, for a page that is not in memory must not stop the loop."""

    def __init__(self, log: Log, loop: AbstractEventLoop, outbox: Outbox, counters: Counters) -> None:
        self._log = log
        self._loop = loop
        self._outbox = outbox
        self._counters = counters
        self._pool = ThreadPoolExecutor(1, "reader")

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, done: Callable[[Future[Any]], None], call: Callable[..., Any], *args: Any) -> None:
        self._loop.run_in_executor(self._pool, call, *args).add_done_callback(done)

    def serve(self, connection: ClientConnection) -> None:
        """Goes on with the connection's readers that are behind, a slice each in turn."""
        if connection.behind and not connection.serving:
            connection.serving = True
            self._loop.call_soon(self._turn, connection)

    def _turn(self, connection: ClientConnection) -> None:
        connection.serving = False
        while connection.behind and not connection.clogged:
            reader = next(iter(connection.behind))
            del connection.behind[reader]
            if self._slice(reader):
                break
        self._outbox.flush()

    def _slice(self, reader: Subscription) -> bool:
        """Sends a slice or starts reading one; False when this reader has nothing more to get from the log."""
        channel = reader.channel
        if reader.next < channel.first:
            self._resync(reader)
        if reader.next > channel.last:
            reader.go_live()
            return False
        room = min(SLICE_BYTES, reader.credit)
        if (snapshot := self._seen_by(reader)) is not None:
            self._read_folded(reader, snapshot, room)
            return True
        if channel.in_tail(reader.next):
            groups = group_batches(channel.tail_from(reader.next, room))
            self._send(reader, [(b"".join(group), next(spans(group[-1])).last) for group in groups])
            return True
        reader.connection.serving = True
        self.read(lambda future: self._got(reader, future), self._log.read, channel.number, reader.next, room)
        return True

    def _seen_by(self, reader: Subscription) -> Snapshot | None:
        """How this reader is to be given the log: None is as it lies there."""
        channel = reader.channel
        if reader.snapshot is not None and reader.next > reader.snapshot.through:
            reader.snapshot = None
        if reader.snapshot is None and channel.perishable:
            return Snapshot(channel.last)
        return reader.snapshot

    def _read_folded(self, reader: Subscription, snapshot: Snapshot, room: int) -> None:
        low = reader.next
        seen = folded.see(reader.channel, snapshot, low, clock.now_ms(), room)
        reader.connection.serving = True
        self.read(lambda future: self._got_folded(reader, seen, future), folded.forwards, self._log, seen, low, room)

    def _got_folded(self, reader: Subscription, seen: Seen, future: Future[Cut]) -> None:
        connection, channel = reader.connection, reader.channel
        connection.serving = False
        if reader in channel.readers and not future.cancelled():
            self._deliver_folded(reader, seen, future)
        self.serve(connection)
        self._outbox.flush()

    def _deliver_folded(self, reader: Subscription, seen: Seen, future: Future[Cut]) -> None:
        failure = future.exception()
        if isinstance(failure, folded.Hole) and seen.first < reader.channel.first:
            reader.go_on()
        elif failure is not None:
            code = ErrorCode.DAMAGED if isinstance(failure, Damaged) else ErrorCode.INTERNAL
            self._refuse(reader, code, failure)
        else:
            folded.remember(reader.channel, seen)
            run = folded.current(future.result(), clock.now_ms())
            groups = group_batches([run[span.start : span.end] for span in spans(run)])
            self._send(reader, [(b"".join(group), next(spans(group[-1])).last) for group in groups])

    def _got(self, reader: Subscription, future: Future[list[Chunk]]) -> None:
        connection, channel = reader.connection, reader.channel
        connection.serving = False
        if reader in channel.readers and not future.cancelled():
            self._deliver_chunks(reader, future)
        self.serve(connection)
        self._outbox.flush()

    def _deliver_chunks(self, reader: Subscription, future: Future[list[Chunk]]) -> None:
        channel = reader.channel
        try:
            chunks = future.result()
        except Damaged as damage:
            self._refuse(reader, ErrorCode.DAMAGED, damage)
            return
        except Exception as error:  # a reader that is told nothing would wait for ever
            self._refuse(reader, ErrorCode.INTERNAL, error)
            return
        if reader.next < channel.first or (not chunks and channel.in_tail(reader.next)):
            reader.go_on()
        elif not chunks or chunks[0].first > reader.next:
            self._refuse(reader, ErrorCode.DAMAGED, Damaged(f"{channel.name!r} has no record {reader.next}"))
        else:
            rest = chunks[0].since(reader.next)
            self._send(reader, [(rest, chunks[0].last), *((chunk.batches, chunk.last) for chunk in chunks[1:])])

    def _send(self, reader: Subscription, parts: list[tuple[bytes, int]]) -> None:
        """A frame for each run of batches and its last offset, as long as there is credit."""
        for batches, last in parts:
            if reader.credit <= 0:
                break
            batches, reader.next = _fitting(batches, last, reader.credit)
            frame = deliver_head(reader.channel.number, len(batches)) + batches
            reader.connection.send(frame)
            reader.credit -= len(frame)
            reader.next += 1
            self._counters.deliveries += 1
        reader.go_on()
        self.serve(reader.connection)

    def _resync(self, reader: Subscription) -> None:
        """Retention has overtaken this reader: it is told, and goes on with what there is."""
        channel = reader.channel
        reader.next = channel.first
        self._counters.resyncs += 1
        reader.connection.send(encode(Resync(channel.number, "trimmed", channel.first - 1, channel.epoch)))

    def _refuse(self, reader: Subscription, code: ErrorCode, error: BaseException) -> None:
        """Promise 7: what fails its checksum is never served, and never skipped in silence."""
        reader.connection.log.error(code.name.lower(), channel=reader.channel.name, error=str(error))
        self._counters.damaged += code is ErrorCode.DAMAGED
        self._counters.refuse(code)
        reader.end()
        reader.connection.ended(reader.channel)
        reader.connection.send(encode(Error(0, code, str(error), {"number": reader.channel.number})))


def _fitting(batches: bytes, last: int, credit: int) -> tuple[bytes, int]:
    """As many whole batches as there is credit for, at least one, and the last offset in them."""
    if len(batches) <= credit:
        return batches, last
    end = 0
    for span in spans(batches):
        if span.end > credit and end:
            break
        end, last = span.end, span.last
    return batches[:end], last
