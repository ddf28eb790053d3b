"""A broker that does what the test says: it expects frames, answers with frames, and cuts.

@scenario
async def test_something(broker: FakeBroker) -> None:
    async with broker.client() as client, broker.line() as line:
        ...
        publish = await line.expect(Publish)
        line.say(Published([(publish.request, 1, False)]))
        line.cut()
        line = await broker.greeted()
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import outlast
import pytest
import uvloop
from outlast_protocol import Connection, Data, Frame, Malformed, Role, batch, limits
from outlast_protocol.frames import (
    Credit,
    Deliver,
    Error,
    Hello,
    Open,
    Opened,
    Ping,
    Pong,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    Welcome,
    encode,
)

F = TypeVar("F", bound=Frame)
EPOCH = 0x00C0FFEE00C0FFEE
NEXT_EPOCH = 0x00C0FFEE00C0FFEF
NUMBER = 9
TIME_MS = 1_700_000_000_000
PATIENCE_S = 10.0
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def welcome(client_id: str = "agent", heartbeat_ms: int = 15_000, **bounds: int) -> Welcome:
    known = {"frame_bytes": limits.FRAME_BYTES_MAX, "batch_bytes": limits.BATCH_BYTES_MAX}
    known |= {"batch_records": limits.BATCH_RECORDS_MAX, "credit_bytes": limits.CREDIT_BYTES_MAX}
    return Welcome(1, client_id, heartbeat_ms, TIME_MS, [], known | bounds, "fake/1")


def stored(offset: int, *datas: Data, name: str | None = None, time_ms: int = TIME_MS) -> bytes:
    """A stamped batch of `datas`, the first at `offset`."""
    rows = [(data, name, None) for data in datas]
    return batch.stamp(batch.encode_batch("writer", rows), offset, time_ms)


def datas_of(publish: Publish) -> list[Data]:
    """What a PUBLISH holds."""
    return [record.decoded() for record in batch.read_records(publish.batch)]


class Line(asyncio.Protocol):
    """One connection, as the broker sees it. `bytes_left` bounds what the client will get to see."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._codec = Connection(Role.BROKER)
        self._arrived: asyncio.Queue[Frame | Malformed] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._tokens = 0
        self.reads = 0
        self.bytes_said = 0
        self.bytes_left: int | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._broker.connected(self)

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        for frame in self._codec.receive(data):
            self._arrived.put_nowait(frame)
            self._broker.arrived(self, frame)
        assert self._codec.failure is None, self._codec.failure

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()

    async def expect(self, cls: type[F], **fields: object) -> F:
        """The next frame, which must be a `cls` with these fields."""
        frame = await asyncio.wait_for(self._arrived.get(), PATIENCE_S)
        assert isinstance(frame, cls), f"expected {cls.__name__}, got {frame}"
        for name, value in fields.items():
            assert getattr(frame, name) == value, f"{name} of {frame}"
        return frame

    async def expect_nothing(self) -> None:
        """What the client has sent so far has been expected."""
        self._tokens += 1
        self.say(Ping(self._tokens))
        await self.expect(Pong, token=self._tokens)

    def say(self, *frames: Frame) -> None:
        self.write(b"".join(self._codec.send(frame) for frame in frames))

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self.bytes_said += len(data)
        if self.bytes_left is None:
            self._transport.write(data)
            return
        self._transport.write(data[: self.bytes_left])
        self.bytes_left -= min(len(data), self.bytes_left)
        if not self.bytes_left:
            self._transport.close()

    def say_early(self, frame: Frame) -> None:
        """To a client that has not been greeted, whatever it has said; then the connection ends."""
        self.write(encode(frame))
        self.close()

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def cut(self) -> None:
        """Ends the connection at once."""
        assert self._transport is not None
        self._transport.abort()

    def close(self) -> None:
        """Ends the connection after what was said."""
        assert self._transport is not None
        self._transport.close()

    # --- what tests say most -----------------------------------------------------------------------------

    async def greet(self, answer: Welcome | None = None) -> Hello:
        hello = await self.expect(Hello)
        self.say(answer or welcome())
        return hello

    async def open(
        self, channel: str = "c", number: int = NUMBER, epoch: int = EPOCH, first: int = 1, last: int = 0
    ) -> Open:
        request = await self.expect(Open, channel=channel)
        self.say(Opened(request.request, number, epoch, first, last))
        return request

    async def accept(self, after: int, /, life: int = EPOCH, resync: str | None = None, **asked: Any) -> Subscribe:
        request = await self.expect(Subscribe, number=NUMBER, **asked)
        self.say(Subscribed(request.request, after, life, 1, max(after, 1), resync))
        return request

    def deliver(self, *batches: bytes) -> None:
        self.say(Deliver(NUMBER, b"".join(batches)))

    async def publish(self, offset: int, duplicate: bool = False, **fields: object) -> Publish:
        """Expects one PUBLISH and acknowledges it."""
        publish = await self.expect(Publish, **fields)
        self.say(Published([(publish.request, offset, duplicate)]))
        return publish

    def refuse(self, request: int, code: int, **detail: int | str) -> None:
        self.say(Error(request, code, "because the test says so", detail))

    async def credited(self) -> int:
        return (await self.expect(Credit, number=NUMBER)).credit


Script = Callable[[Line, Frame | Malformed], None]


class FakeBroker:
    """Listens on a Unix socket. With a `script` it answers by itself, else the test takes line by line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.url = f"outlast+unix://{path}"
        self.script: Script | None = None
        self.lines: list[Line] = []
        self.on_connect: Callable[[Line], None] = lambda line: None
        self._new: asyncio.Queue[Line] = asyncio.Queue()
        self._server: asyncio.AbstractServer | None = None

    @asynccontextmanager
    async def subscribed(
        self, client: outlast.Client, line: Line, **options: Any
    ) -> AsyncIterator[outlast.Subscription]:
        """A subscription of channel "c" from its start, which the broker has accepted."""
        entering = asyncio.create_task(client.channel("c").subscribe(start="earliest", **options).__aenter__())
        await line.open()
        await line.accept(0)
        async with await entering as subscription:
            yield subscription

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Line(self), self.path)

    async def stop(self) -> None:
        """Stops listening and cuts every line."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self.lines:
            line.cut()
            await line.ended.wait()

    def remove_socket(self) -> None:
        """What is left of a broker that stopped."""
        Path(self.path).unlink(missing_ok=True)

    def connected(self, line: Line) -> None:
        self.on_connect(line)
        self.lines.append(line)
        self._new.put_nowait(line)

    def arrived(self, line: Line, frame: Frame | Malformed) -> None:
        if self.script is not None:
            self.script(line, frame)

    async def accepted(self) -> Line:
        """The next connection, not greeted yet."""
        return await asyncio.wait_for(self._new.get(), PATIENCE_S)

    async def greeted(self, answer: Welcome | None = None) -> Line:
        """The next connection, open."""
        line = await self.accepted()
        await line.greet(answer)
        return line

    def connect(self, **options: Any) -> outlast.Client:
        """A client that comes back fast and does not wait long when it closes."""
        fast: dict[str, Any] = {"client_id": "agent", "backoff_base_ms": 1, "backoff_cap_ms": 5, "close_timeout": 0}
        return outlast.connect(self.url, **(fast | options))

    @asynccontextmanager
    async def joined(self, answer: Welcome | None = None, **options: Any) -> AsyncIterator[tuple[outlast.Client, Line]]:
        """An open client and its line."""
        client = self.connect(**options)
        entering = asyncio.create_task(client.__aenter__())
        line = await self.greeted(answer)
        await entering
        try:
            yield client, line
        finally:
            await client.close()


def scenario(test: Callable[[FakeBroker], Awaitable[None]]) -> Callable[[str], None]:
    """Runs `test` with a fake broker, on asyncio's loop and on uvloop."""

    @pytest.mark.parametrize("loop", LOOPS)
    def runs(loop: str) -> None:
        play(test, loop)

    runs.__name__ = test.__name__
    runs.__doc__ = test.__doc__
    return runs


def play(test: Callable[[FakeBroker], Awaitable[None]], loop: str = "asyncio") -> None:
    """As `scenario`, once."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(_with_broker(test))


async def _with_broker(test: Callable[[FakeBroker], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory(prefix="outlast-") as folder:
        broker = FakeBroker(f"{folder}/broker")
        await broker.listen()
        try:
            await asyncio.wait_for(test(broker), PATIENCE_S)
        finally:
            await broker.stop()


async def take(subscription: outlast.Subscription, count: int) -> list[outlast.Record]:
    return [await anext(subscription) for _ in range(count)]


def offsets(records: Sequence[outlast.Record]) -> list[int]:
    return [record.offset for record in records]
