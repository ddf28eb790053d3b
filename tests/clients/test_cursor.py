"""Reading by a cursor: what is sent, what goes again, and what the real broker makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import outlast
import pytest
from outlast.cursor import check_cursor_name
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Ack, Cursors, Forget, Reply, Resync, Subscribe, Unsubscribe

from tests.support.broker import running_broker

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, Line, offsets, scenario, stored, take
from .test_against_broker import connect, tell


async def acked(line: Line, offset: int) -> None:
    """Expects one ACK and says that it is on disk."""
    ack = await line.expect(Ack, number=NUMBER, cursor="phone", offset=offset)
    line.say(Reply(ack.request, {"offset": offset}))


@asynccontextmanager
async def reading(client: outlast.Client, line: Line, **options: Any) -> AsyncIterator[outlast.Subscription]:
    """A subscription by cursor that stands at 4; ten more records have come."""
    entering = asyncio.create_task(client.channel("c").subscribe(cursor="phone", **options).__aenter__())
    await line.open()
    await line.accept(4, cursor="phone", start="earliest")
    subscription = await entering
    line.deliver(stored(5, *range(10)))
    yield subscription
    await subscription.close()


@scenario
async def test_a_record_is_acknowledged_when_the_next_is_asked_for(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line) as subscription:
        assert (await anext(subscription)).offset == 5
        await line.expect_nothing()
        assert (await anext(subscription)).offset == 6
        await acked(line, 5)
        closing = asyncio.create_task(subscription.close())
        await acked(line, 6)
        await line.expect(Unsubscribe)
        await closing


@scenario
async def test_one_at_a_time_and_then_the_newest(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        records = await take(subscription, 10)
        for record in records[:6]:
            record.ack()
        first = await line.expect(Ack, offset=5)
        await line.expect_nothing()
        waiting = asyncio.create_task(subscription.acked())
        line.say(Reply(first.request, {"offset": 5}))
        await acked(line, 10)
        await waiting
        records[2].ack()
        await line.expect_nothing()


@scenario
async def test_what_was_not_answered_goes_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        records = await take(subscription, 10)
        records[3].ack()
        await line.expect(Ack, offset=8)
        line.cut()
        records[4].ack()
        line = await broker.greeted()
        waiting = asyncio.create_task(subscription.acked())
        await line.open()
        await line.accept(14, after=14, epoch=EPOCH, cursor=None)
        await acked(line, 9)
        await waiting
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.accept(14)
        await line.expect_nothing()


@scenario
async def test_a_refusal_for_now_is_asked_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        (await anext(subscription)).ack()
        ack = await line.expect(Ack, offset=5)
        line.refuse(ack.request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await acked(line, 5)
        await subscription.acked()


@scenario
async def test_a_refusal_for_good_ends_the_subscription(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        (await anext(subscription)).ack()
        ack = await line.expect(Ack, offset=5)
        line.refuse(ack.request, ErrorCode.LIMIT_EXCEEDED, limit="cursors", value=1_000)
        with pytest.raises(outlast.LimitExceeded):
            await subscription.acked()
        await take(subscription, 9)
        with pytest.raises(outlast.LimitExceeded):
            await anext(subscription)


@scenario
async def test_of_a_deleted_channel_nothing_is_left_to_acknowledge(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        record = await anext(subscription)
        record.ack()
        await line.expect(Ack, offset=5)
        waiting = asyncio.create_task(subscription.acked())
        await asyncio.sleep(0)
        line.say(Resync(NUMBER, "deleted", 14, EPOCH))
        with pytest.raises(outlast.UnknownChannel):
            await waiting
        await take(subscription, 9)
        with pytest.raises(outlast.Resync):
            await anext(subscription)
        following = asyncio.create_task(anext(subscription))
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH)
        line.deliver(stored(1, "new"))
        record.ack()
        (await following).ack()
        await acked(line, 1)


@scenario
async def test_the_end_sends_the_newest_offset_whatever_is_unanswered(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line, ack="manual") as subscription:
        records = await take(subscription, 10)
        records[0].ack()
        records[1].ack()
        await line.expect(Ack, offset=5)
        waiting = asyncio.create_task(subscription.acked())
        await asyncio.sleep(0)
        await client.close()
        await line.expect(Ack, offset=6)
        with pytest.raises(outlast.Closed):
            await waiting


@scenario
async def test_what_raised_is_not_acknowledged(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), reading(client, line) as subscription:
        with pytest.raises(ZeroDivisionError):
            async with subscription:
                await anext(subscription)
                raise ZeroDivisionError
        await line.expect(Unsubscribe)


@scenario
async def test_a_trimmed_cursor_resyncs(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(cursor="phone", start="latest")
        first = asyncio.create_task(anext(subscription))
        await line.open()
        await line.accept(9, resync="trimmed", cursor="phone", start="latest")
        with pytest.raises(outlast.Resync) as raised:
            await first
        assert raised.value.position == outlast.Position(EPOCH, 9)


@scenario
async def test_a_cursor_may_be_elsewhere_than_the_start(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").subscribe(cursor="phone", after=3).__aenter__())
        await line.open()
        await line.accept(7, cursor="phone", after=3)
        assert (await entering).position == outlast.Position(EPOCH, 7)


@scenario
async def test_without_a_cursor_there_is_nothing_to_acknowledge(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, "a"))
        with pytest.raises(RuntimeError, match="cursor"):
            (await anext(subscription)).ack()
        with pytest.raises(RuntimeError, match="cursor"):
            await subscription.acked()
        with pytest.raises(ValueError, match="manual"):
            client.channel("c").subscribe(cursor="phone", ack="never")  # type: ignore[arg-type]


# --- what a channel knows of its readers ------------------------------------------------------------------


@scenario
async def test_cursors_come_in_pages(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        listing = asyncio.create_task(_listed(client.channel("c")))
        ask = await line.expect(Cursors, channel="c", after=None)
        line.say(Reply(ask.request, {"cursors": [_row("a", 1)], "more": True}))
        ask = await line.expect(Cursors, after="a")
        line.say(Reply(ask.request, {"cursors": [_row("b", 2)], "more": False}))
        acked = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert await listing == [outlast.Cursor("a", 1, 5, acked), outlast.Cursor("b", 2, 5, acked)]


def _row(name: str, offset: int) -> dict[str, Any]:
    return {"cursor": name, "offset": offset, "lag": 5, "acked_ms": 1_700_000_000_000}


async def _listed(channel: outlast.Channel) -> list[outlast.Cursor]:
    return [cursor async for cursor in channel.cursors()]


@scenario
async def test_forgetting_is_asked_once(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        forgetting = asyncio.create_task(channel.forget_cursor("phone"))
        ask = await line.expect(Forget, channel="c", cursor="phone")
        line.say(Reply(ask.request, {"offset": 7}))
        assert await forgetting == 7
        forgetting = asyncio.create_task(channel.forget_cursor("phone"))
        line.refuse((await line.expect(Forget)).request, ErrorCode.UNKNOWN_CURSOR)
        with pytest.raises(outlast.UnknownCursor):
            await forgetting
        forgetting = asyncio.create_task(channel.forget_cursor("phone"))
        await line.expect(Forget)
        line.cut()
        with pytest.raises(outlast.ConnectionLost):
            await forgetting


@pytest.mark.parametrize(
    ("name", "error"),
    [("", ValueError), ("x" * 129, ValueError), ("a\n", ValueError), ("\ud800", ValueError), (7, TypeError)],
)
def test_names(name: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="cursor"):
        check_cursor_name(name)
    assert check_cursor_name("ä" * 64) == "ä" * 64


# --- the real broker --------------------------------------------------------------------------------------


def test_against_the_real_broker() -> None:
    with running_broker() as broker:
        tell(resume_by_cursor, f"outlast+unix://{broker.path}")


async def resume_by_cursor(url: str) -> None:
    async with connect(url) as client:
        channel = client.channel("room")
        await channel.publish_many(range(10))
        async with channel.subscribe(cursor="phone") as reader:
            assert offsets(await take(reader, 4)) == [1, 2, 3, 4]
        [cursor] = await _listed(channel)
        assert (cursor.name, cursor.offset, cursor.lag) == ("phone", 4, 6)
        assert cursor.acked.tzinfo is UTC
    async with connect(url) as client:
        channel = client.channel("room")
        async with channel.subscribe(cursor="phone", start="latest", ack="manual") as reader:
            records = await take(reader, 3)
            assert offsets(records) == [5, 6, 7]
            records[1].ack()
            await reader.acked()
        assert [(cursor.name, cursor.offset) async for cursor in channel.cursors()] == [("phone", 6)]
        assert offsets(await take(channel.subscribe(cursor="phone"), 1)) == [7]
        assert await channel.forget_cursor("phone") == 6
        with pytest.raises(outlast.UnknownCursor):
            await channel.forget_cursor("phone")
        assert await _listed(channel) == []


@scenario
async def test_a_subscription_asks_by_its_cursor_until_it_is_accepted(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").subscribe(cursor="phone").__aenter__())
        await line.open()
        await line.expect(Subscribe, cursor="phone", start="earliest")
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.accept(4, cursor="phone", start="earliest")
        await entering
