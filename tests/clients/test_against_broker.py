"""The client and the real broker: every verb once, and publishing and reading through cut connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import outlast
import pytest

from tests.support.broker import running_broker

from .fake_broker import LOOPS, PATIENCE_S, offsets, take

Story = Callable[[str], Awaitable[None]]


def tell(story: Story, url: str, loop: str = "asyncio") -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(story(url), PATIENCE_S))


def connect(url: str, **options: Any) -> outlast.Client:
    return outlast.connect(url, backoff_base_ms=1, backoff_cap_ms=20, **options)


@pytest.mark.parametrize("loop", LOOPS)
def test_every_verb(loop: str) -> None:
    with running_broker() as broker:
        tell(every_verb, f"outlast+unix://{broker.path}", loop)


async def every_verb(url: str) -> None:
    async with connect(url, client_id="agent") as client:
        channel = client.channel("session:42")
        with pytest.raises(outlast.UnknownChannel):
            await channel.info()
        async with channel.subscribe() as live:
            acks = [await channel.publish(b"\x00", name="token", headers={"k": "v"}), await channel.publish({"a": [1]})]
            acks.append(await channel.publish_many(["b", outlast.Message("c", "n")], if_offset=2))
            assert [list(ack.offsets) for ack in acks] == [[1], [2], [3, 4]]
            records = await take(live, 4)
        assert [record.data for record in records] == [b"\x00", {"a": [1]}, "b", "c"]
        assert (records[0].name, records[0].headers, records[0].client_id) == ("token", {"k": "v"}, "agent")
        with pytest.raises(outlast.OffsetMismatch) as mismatch:
            await channel.publish("d", if_offset=2)
        assert mismatch.value.last == 4
        await read_in_every_way(channel, records)
        await look_after(client, channel)


async def read_in_every_way(channel: outlast.Channel, records: list[outlast.Record]) -> None:
    assert [record async for record in channel.history()] == records
    assert [record async for record in channel.history(backwards=True, limit=2)] == records[:1:-1]
    assert [record async for record in channel.history(after=records[0].position, before=4)] == records[1:3]
    assert [record async for record in channel.history(since=records[0].time)] == records
    for start in ({"start": "earliest"}, {"after": 0}, {"last": 4}, {"since": records[0].time_ms}):
        assert await take(channel.subscribe(**start), 4) == records
    assert await take(channel.subscribe(after=str(records[1].position)), 2) == records[2:]
    with pytest.raises(outlast.OffsetAhead):
        await anext(channel.subscribe(after=5))


async def look_after(client: outlast.Client, channel: outlast.Channel) -> None:
    info = await channel.info()
    assert (info.name, info.first, info.last) == ("session:42", 1, 4)
    assert [summary.position async for summary in client.channels(prefix="session:")] == [info.position]
    assert (await channel.configure(retention={"records": 100})).records == 100
    assert await channel.truncate(before=3) == 3
    with pytest.raises(outlast.Trimmed):
        [record async for record in channel.history(after=0)]
    reader = channel.subscribe(after=1)
    with pytest.raises(outlast.Resync, match="trimmed"):
        await anext(reader)
    assert offsets(await take(reader, 2)) == [3, 4]
    await channel.delete(hard=True)
    assert await client.compact() == (0, 0), "a broker in memory has no file"
    with pytest.raises(outlast.Resync, match="deleted"):
        await anext(reader)
    ack = await channel.publish("next life")
    assert (await anext(reader)).position == ack.position
    with pytest.raises(outlast.Resync, match="recreated"):
        await anext(channel.subscribe(after=info.position))


class CuttingProxy:
    """Stands between client and broker, and cuts each connection after a random number of bytes."""

    def __init__(self, broker_path: str, path: Path, seed: int) -> None:
        self._broker_path = broker_path
        self._path = str(path)
        self._dice = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"outlast+unix://{path}"
        self.cuts = 0
        self.calm = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        server = await asyncio.start_unix_server(self._carry, self._path)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._broker_path)
        ways = [self._pump(reader, upstream_writer), self._pump(upstream_reader, writer)]
        tasks = {asyncio.create_task(way) for way in ways}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, upstream_writer):
            each.transport.abort()
        await asyncio.wait(tasks)
        self._tasks -= tasks

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # From 100 bytes to 100,000, each size as likely: less than a greeting, more than all of the log.
        left = int(100 * 1_000 ** self._dice.random())
        while data := await reader.read(4_096):
            if not self.calm:
                left -= len(data)
            if left <= 0:
                self.cuts += 1
                writer.write(data[:left])
                return
            writer.write(data)


@pytest.mark.parametrize("seed", range(3))
def test_once_and_in_order_through_cut_connections(seed: int) -> None:
    with running_broker() as broker:

        async def story(path: str) -> None:
            async with CuttingProxy(path, Path(f"{path}-proxy"), seed).running() as proxy:
                await publish_and_read(proxy)

        tell(story, broker.path)


async def publish_and_read(proxy: CuttingProxy) -> None:
    messages = 600
    async with connect(proxy.url) as agent, connect(proxy.url) as viewer:
        reading = asyncio.create_task(
            take(viewer.channel("c").subscribe(start="earliest", window_bytes=8_000), messages)
        )
        acks = []
        for burst in range(0, messages, 20):
            publishing = [agent.channel("c").publish({"n": n, "pad": "x" * 100}) for n in range(burst, burst + 20)]
            acks += await asyncio.gather(*publishing)
        records = await reading
    assert [ack.offset for ack in acks] == list(range(1, messages + 1))
    assert [record.data["n"] for record in records if isinstance(record.data, dict)] == list(range(messages))
    assert offsets(records) == list(range(1, messages + 1))
    assert proxy.cuts > 5
