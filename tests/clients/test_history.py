"""History, page by page: forwards and backwards, bounded, and joined without holes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import History, Open, Page

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, Line, play, scenario, stored


async def read(history: AsyncIterator[outlast.Record]) -> list[int]:
    return [record.offset async for record in history]


async def page(line: Line, low: int, high: int, end: int, *batches: bytes, begin: int = 1, **asked: Any) -> History:
    request = await line.expect(History, number=NUMBER, **asked)
    line.say(Page(request.request, low, high, begin, end, b"".join(batches)))
    return request


@scenario
async def test_pages_follow_each_other(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        assert (await line.open(last=6)).create is False
        await page(line, 1, 2, 6, stored(1, "a", "b"), start="earliest", after=None)
        await page(line, 3, 3, 6, stored(3, "c"), after=2, epoch=EPOCH, start=None)
        await page(line, 4, 6, 6, stored(4, "d", "e", "f"), after=3)
        assert await reading == [1, 2, 3, 4, 5, 6]
        await line.expect_nothing()


@scenario
async def test_it_ends_at_what_was_the_last_record_when_it_began(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(after=3)))
        await line.open()
        await page(line, 4, 5, 6, stored(4, "d", "e"), after=3)
        await page(line, 6, 9, 9, stored(6, "f", "g", "h", "i"))
        assert await reading == [4, 5, 6]


@scenario
async def test_records_around_the_meant_ones_are_skipped(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(after=2, limit=2)))
        await line.open()
        await page(line, 3, 4, 9, stored(1, *"abcdef"), after=2, limit=2)
        assert await reading == [3, 4]


@scenario
async def test_an_empty_channel(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        await line.open()
        await page(line, 1, 0, 0)
        assert await reading == []
        reading = asyncio.create_task(read(client.channel("c").history(backwards=True)))
        await page(line, 1, 0, 0)
        assert await reading == []


@scenario
async def test_limit(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        assert await read(channel.history(limit=0)) == []
        reading = asyncio.create_task(read(channel.history(limit=3)))
        await line.open()
        await page(line, 1, 2, 9, stored(1, "a", "b"), limit=3)
        await page(line, 3, 3, 9, stored(3, "c"), limit=1)
        assert await reading == [1, 2, 3]
        reading = asyncio.create_task(read(channel.history(last=1)))
        await page(line, 9, 9, 9, stored(9, "i"), last=1)
        assert await reading == [9]


@scenario
async def test_before(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        reading = asyncio.create_task(read(channel.history(before=4)))
        await line.open()
        await page(line, 1, 6, 9, stored(1, *"abcdef"), before=None)
        assert await reading == [1, 2, 3]
        reading = asyncio.create_task(read(channel.history(after=1, before=f"{NEXT_EPOCH:016x}:4")))
        await page(line, 2, 2, 9, stored(2, "b"))
        with pytest.raises(outlast.StaleEpoch) as caught:
            await reading
        assert caught.value.epoch == EPOCH


@scenario
async def test_backwards_gives_the_newest_first(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(backwards=True, before=7)))
        await line.open(last=9)
        await page(line, 5, 6, 9, stored(4, *"def"), backwards=True, before=7, epoch=None, start=None)
        await page(line, 3, 4, 9, stored(3, "c"), stored(4, *"def"), begin=3, before=5, epoch=EPOCH)
        assert await reading == [6, 5, 4, 3]


@scenario
async def test_a_lost_connection_or_number_is_not_the_readers_business(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        await line.open()
        await page(line, 1, 1, 2, stored(1, "a"))
        await line.expect(History)
        line.cut()
        line = await broker.greeted()
        await line.open()
        line.refuse((await line.expect(History)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open()
        await page(line, 2, 2, 2, stored(2, "b"), after=1, epoch=EPOCH)
        assert await reading == [1, 2]


@scenario
async def test_refusals_reach_the_reader(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        line.refuse((await line.expect(Open)).request, ErrorCode.UNKNOWN_CHANNEL)
        with pytest.raises(outlast.UnknownChannel):
            await reading
        reading = asyncio.create_task(read(client.channel("c").history(after=1)))
        await line.open()
        line.refuse((await line.expect(History)).request, ErrorCode.TRIMMED, first=5)
        with pytest.raises(outlast.Trimmed) as caught:
            await reading
        assert caught.value.first == 5


@pytest.mark.parametrize(
    ("low", "high", "batches"),
    [
        (4, 5, stored(4, "d", "e")),
        (3, 5, stored(3, "c") + stored(5, "e")),
        (3, 5, stored(3, "c", "d")),
        (3, 4, stored(3, "c", "d")[:-1] + b"?"),
    ],
    ids=["starts too late", "hole", "too short", "damaged"],
)
def test_pages_that_leave_something_out(low: int, high: int, batches: bytes) -> None:
    async def leave_out(broker: FakeBroker) -> None:
        async with broker.joined() as (client, line):
            reading = asyncio.create_task(read(client.channel("c").history(after=2)))
            await line.open()
            await page(line, low, high, 9, batches)
            with pytest.raises(outlast.Violation):
                await reading

    play(leave_out)
