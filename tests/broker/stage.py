"""The broker's engine without sockets: clients speak to it in this thread, and the disk waits for a word.

stage.log.hold()
alice.send(...)            # accepted, and the commit does not end
stage.turn()
assert alice.silent
stage.log.go_on()
alice.expect(Published)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from outlast_broker import clock
from outlast_broker.channel import Channel
from outlast_broker.config import Config
from outlast_broker.connection import ClientConnection
from outlast_broker.engine import Engine
from outlast_broker.log import Log, Outcome, Work
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import Connection, Data, ErrorCode, Frame, Malformed, Record, Role
from outlast_protocol.batch import encode_batch, read_records
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Deliver,
    Error,
    Hello,
    Info,
    Open,
    Opened,
    Publish,
    Published,
    Reply,
    Subscribe,
    Subscribed,
    Welcome,
)

PATIENCE_S = 10.0
F = TypeVar("F")


class HeldLog:
    """A log whose commits, or reads, wait at a gate while it is held. It stands before any other log."""

    def __init__(self, log: Log) -> None:
        self.kept = log
        self._commits = threading.Event()
        self._reads = threading.Event()
        self.committing = threading.Event()
        self.reading = threading.Event()
        self.works: list[Work] = []
        self.failure: Exception | None = None
        self._commits.set()
        self._reads.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)

    def hold(self) -> None:
        """Commits wait from now on; `committing` is set once one does."""
        self.committing.clear()
        self._commits.clear()

    def go_on(self) -> None:
        self._commits.set()

    def hold_reads(self) -> None:
        """Reads of chunks wait from now on; `reading` is set once one does."""
        self.reading.clear()
        self._reads.clear()

    def go_on_reading(self) -> None:
        self._reads.set()

    def commit(self, work: Work) -> Outcome:
        self.works.append(work)
        self.committing.set()
        assert self._commits.wait(PATIENCE_S), "nobody lets this commit end"
        if self.failure is not None:
            raise self.failure
        return self.kept.commit(work)

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        self._wait_to_read()
        return self.kept.read(number, offset, bytes_max)

    def read_back(self, number: int, offset: int) -> Any:
        self._wait_to_read()
        return self.kept.read_back(number, offset)

    def find_time(self, number: int, time_ms: int) -> Any:
        self._wait_to_read()
        return self.kept.find_time(number, time_ms)

    def _wait_to_read(self) -> None:
        self.reading.set()
        assert self._reads.wait(PATIENCE_S), "nobody lets this read end"


class Time:
    """What `clock` says while a test runs; it stands still until it is told to go on."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def advance(self, ms: int) -> None:
        self.ms += ms


class Wire:
    """The client's side of the broker's `Wire`: keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = self.paused = False
        self.arrived = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        self.arrived.set()

    def close(self) -> None:
        self.closed = True
        self.arrived.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.arrived.set()

    def abort(self) -> None:
        self.aborted = True
        self.arrived.set()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0


class Actor:
    """A client on the stage. The verbs are those of `tests.support.broker.RawClient`."""

    def __init__(self, stage: Stage, client_id: str) -> None:
        self.id = client_id
        self.wire = Wire()
        self._stage = stage
        self._protocol = Connection(Role.CLIENT)
        self._came: list[Frame | Malformed] = []
        self._request = 0
        self.connection = ClientConnection(stage.engine, self.wire, clock.steady_ms())

    def send(self, *frames: Frame) -> None:
        self.send_bytes(b"".join([self._protocol.send(frame) for frame in frames]))

    def send_bytes(self, data: bytes) -> None:
        """As one read of the socket."""
        self._stage.call(lambda: self.connection.receive(data))

    def request(self) -> int:
        self._request += 1
        return self._request

    def publishing(self, number: int, *datas: Data, sequence: int = 0, if_offset: int = UNCONDITIONAL) -> Publish:
        batch = encode_batch(self.id, [(data, None, None) for data in datas])
        return Publish(self.request(), number, sequence, if_offset, 0, batch)

    def subscribing(self, number: int, credit: int = 1 << 20, **start: Any) -> Subscribe:
        return Subscribe(self.request(), number, credit, **(start or {"start": "earliest"}))

    # --- requests that wait for their answer ------------------------------------------------------------------

    def hello(self, producer: tuple[int, int] | None = None) -> Welcome:
        self.send(Hello([1], self.id, list(producer) if producer else None))
        return self.expect(Welcome)

    def open(self, channel: str, create: bool = True) -> Opened:
        return self._answered(Open(self.request(), channel, create), Opened)

    def publish(self, number: int, *datas: Data, sequence: int = 0) -> tuple[int, bool]:
        """(first offset, duplicate) of a publish that is acknowledged alone; what else comes stays to be taken."""
        self.send(self.publishing(number, *datas, sequence=sequence))
        self._stage.until(self._acknowledged, self.wire.arrived)
        published = next(frame for frame in self._came if isinstance(frame, Published))
        self._came.remove(published)
        [(_, offset, duplicate)] = published.acks
        return offset, duplicate

    def publish_many(self, number: int, count: int, *datas: Data) -> None:
        """So many publishes at once, and their acknowledgements."""
        self.send(*[self.publishing(number, *(datas or ("x",))) for _ in range(count)])
        while count:
            count -= len(self.expect(Published).acks)

    def _acknowledged(self) -> bool:
        return any(isinstance(frame, Published | Error) for frame in self.came)

    def subscribe(self, number: int, credit: int = 1 << 20, **start: Any) -> Subscribed:
        return self._answered(self.subscribing(number, credit, **start), Subscribed)

    def info(self, channel: str) -> dict[str, Any]:
        return self.result(Info(self.request(), channel))

    def result(self, frame: Any) -> dict[str, Any]:
        return self._answered(frame, Reply).result

    def refused(self, frame: Any, code: ErrorCode) -> Error:
        error = self._answered(frame, Error)
        assert ErrorCode(error.code) is code, error
        return error

    def _answered(self, frame: Any, kind: type[F]) -> F:
        """The answer, which must be the next thing that comes."""
        self.send(frame)
        answer = self.expect(kind)
        assert getattr(answer, "request", None) == frame.request, answer
        return answer

    # --- listening --------------------------------------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether everything that came has been taken."""
        self._read()
        return not self._came

    @property
    def came(self) -> list[Frame | Malformed]:
        """What came and was not taken yet."""
        self._read()
        return self._came

    def expect(self, kind: type[F]) -> F:
        self._stage.until(lambda: not self.silent or self.wire.closed, self.wire.arrived)
        assert self._came, "the broker has closed the connection"
        frame = self._came.pop(0)
        assert isinstance(frame, kind), frame
        return frame

    def records(self, last: int) -> list[Record]:
        """What DELIVER frames bring, up to the record at offset `last`."""
        records: list[Record] = []
        while not records or records[-1].offset < last:
            records += read_records(self.expect(Deliver).batches)
        return records

    def _read(self) -> None:
        written, self.wire.written = self.wire.written, []
        for data in written:
            self._came += self._protocol.receive(data)
        assert self._protocol.failure is None, self._protocol.failure

    def leave(self) -> None:
        """The socket closes."""
        self._stage.call(self.connection.closed)


class Stage:
    """An engine on a loop that runs only while somebody waits."""

    def __init__(self, log: Log | None = None, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._unhandled)
        self.problems: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self._actors: list[Actor] = []
        self.log = HeldLog(log or MemoryLog())
        config = replace(Config(data=None), **settings)
        self.engine = self._made(config)

    def _made(self, config: Config) -> Engine:
        async def make() -> Engine:
            return Engine(config, self.log, self.loop, self.failures.append)

        engine = self.loop.run_until_complete(make())
        self.call(engine.recover)
        return engine

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append({key: repr(value) for key, value in context.items()})

    def client(self, client_id: str = "client", producer: tuple[int, int] | None = None) -> Actor:
        """A client that has been welcomed."""
        actor = self.stranger(client_id)
        actor.hello(producer)
        return actor

    def stranger(self, client_id: str = "client") -> Actor:
        self._actors.append(self.call(lambda: Actor(self, client_id)))
        return self._actors[-1]

    def channel(self, name: str) -> Channel:
        """What the engine itself holds of a channel."""
        channel = self.call(lambda: self.engine.open(name, create=False))
        assert channel is not None, name
        return channel

    # --- letting it run ---------------------------------------------------------------------------------------

    def call(self, function: Callable[[], F]) -> F:
        """Calls on the loop, as a socket's event would."""

        async def run() -> F:
            return function()

        return self.loop.run_until_complete(run())

    def until(self, condition: Callable[[], bool], arrived: asyncio.Event | None = None) -> None:
        """Runs until the condition holds; it is asked again whenever something arrives, and now and then."""

        async def wait() -> None:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    await self._something(arrived)

        self.loop.run_until_complete(wait())

    async def _something(self, arrived: asyncio.Event | None) -> None:
        if arrived is None:
            await asyncio.sleep(0.001)
        else:
            arrived.clear()
            await arrived.wait()

    def turn(self) -> None:
        """A few turns of the loop, enough for everything that is not waiting for the disk."""

        async def turns() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def hold_in_commit(self) -> None:
        """Commits wait from now on; returns when one that is under way does."""
        self.turn()
        assert self.log.committing.wait(PATIENCE_S), "nothing is committed"

    def idle(self) -> None:
        """Until everything accepted is on disk."""
        done = asyncio.Event()
        self.call(lambda: self.engine.when_idle(done.set))
        self.until(done.is_set, done)

    def tick(self) -> None:
        """What the server does once a second, and the commits that it causes."""
        self.call(lambda: self.engine.tick(clock.now_ms()))
        self.until(lambda: not self.engine.folding.busy)
        self.idle()

    def settle(self, name: str) -> None:
        """Until the channel's records lie in chunks; the journal's age must be up."""
        for _ in range(100):
            if not self.channel(name).tail:
                return
            self.tick()
        raise AssertionError(f"the records of {name!r} do not leave the journal")

    def crash(self) -> Log:
        """The broker ends at once and writes nothing more; returns what it leaves behind."""
        left, self.log.kept = self.log.kept, MemoryLog()
        self._end()
        return left

    def close(self) -> None:
        if self.loop.is_closed():
            return
        for actor in self._actors:
            actor.leave()
        if not self.failures:
            self.idle()
        self._end()
        assert not self.problems, self.problems

    def _end(self) -> None:
        self.log.go_on()
        self.log.go_on_reading()
        self.engine.close()
        self.loop.close()
