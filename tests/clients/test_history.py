"""History, page by page: forwards and backwards, bounded, and joined without holes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import History, Open, Page
from outlast_protocol.operations import MessageState, Op
from outlast_protocol.session_frames import Message
from outlast_protocol.tile import make_tile

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, TIME_MS, FakeBroker, Line, play, scenario, stored
from .test_growing import COMPLETE, folded_batch, op, operation_batch


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


# --- tiles and folding ------------------------------------------------------------------------------------------


@scenario
async def test_what_a_tile_leaves_out_is_not_missing(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        await line.open()
        tile = make_tile(2, 7, TIME_MS, stored(4, "b") + stored(6, "c"))
        await page(line, 1, 5, 9, stored(1, "a") + tile, fold=True)
        await page(line, 6, 9, 9, tile + stored(8, "d", "e"), after=5, fold=True)
        assert await reading == [1, 4, 6, 8, 9]


@scenario
async def test_what_no_tile_leaves_out_is_missing(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        await line.open()
        await page(line, 1, 1, 1, stored(1, "a"))
        await reading
        for batches in (
            [stored(1, "a"), stored(3, "c")],
            [make_tile(2, 3, TIME_MS, stored(3, "c"))],
            [stored(1, "a"), make_tile(2, 2, TIME_MS, b"")],
            [stored(1, "a", "b"), stored(2, "b", "c")],
        ):
            reading = asyncio.create_task(read(client.channel("c").history()))
            await page(line, 1, 3, 3, *batches)
            with pytest.raises(outlast.Violation, match="leaves|ends"):
                await reading


@scenario
async def test_limit_counts_what_is_given(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(limit=3)))
        await line.open()
        await page(line, 1, 40, 90, make_tile(1, 40, TIME_MS, stored(40, "a")), limit=3)
        await page(line, 41, 42, 90, stored(41, "b", "c"), limit=2)
        assert await reading == [40, 41, 42]
        reading = asyncio.create_task(read(client.channel("c").history(limit=2, backwards=True)))
        await page(line, 50, 90, 90, make_tile(50, 90, TIME_MS, stored(60, "z")), limit=2, fold=True)
        await page(line, 49, 49, 90, stored(49, "y"), limit=1, before=50)
        assert await reading == [60, 49]


@scenario
async def test_a_message_that_goes_on_while_pages_are_fetched_is_given_once(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history()))
        await line.open()
        first = stored(1, "a") + folded_batch(2, 1, COMPLETE, "given at its first place")
        await page(line, 1, 2, 4, first)
        later = folded_batch(5, 3, COMPLETE, "was at 4") + folded_batch(6, 1, COMPLETE, "again")
        new = stored(7, "new") + folded_batch(9, 8, COMPLETE, "new")
        await page(line, 3, 9, 9, make_tile(3, 9, TIME_MS, later + new), after=2)
        assert await reading == [1, 2, 5]
        await line.expect_nothing()


@scenario
async def test_with_an_end_messages_stand_at_their_place(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(before=5)))
        await line.open()
        held = stored(3, "a") + folded_batch(5, 2, COMPLETE, "beyond")
        await page(line, 1, 6, 6, make_tile(1, 6, TIME_MS, held + stored(6, "b")))
        assert await reading == [3]


@scenario
async def test_raw_history_is_operation_by_operation(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(read(client.channel("c").history(raw=True)))
        await line.open()
        held = operation_batch(1, op(Op.OPEN), "A") + operation_batch(2, op(Op.APPEND, 1), "b")
        await page(line, 1, 2, 2, held, fold=False)
        assert await reading == [1, 2]


@scenario
async def test_one_message(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        asking = asyncio.create_task(channel.get_message(f"{EPOCH:016x}:5"))
        await line.open()
        request = await line.expect(Message, number=NUMBER, message=5)
        stored_whole = folded_batch(8, 5, MessageState.CANCELLED, b"Ab", "by its user", name="answer")
        line.say(Page(request.request, 5, 8, 1, 9, stored_whole))
        view = await asking
        assert (view.id, view.epoch, view.name, view.content, view.place) == (5, EPOCH, "answer", b"Ab", 8)
        assert (view.state, view.reason, view.whole) == ("cancelled", "by its user", True)
        with pytest.raises(outlast.StaleEpoch):
            await channel.get_message(outlast.Position(NEXT_EPOCH, 5))
        asking = asyncio.create_task(channel.get_message(view))
        line.refuse((await line.expect(Message)).request, ErrorCode.UNKNOWN_MESSAGE, message=5)
        with pytest.raises(outlast.UnknownMessage):
            await asking
        asking = asyncio.create_task(channel.get_message(5))
        line.say(Page((await line.expect(Message)).request, 5, 8, 1, 9, stored(8, "another")))
        with pytest.raises(outlast.Violation, match="without it"):
            await asking
