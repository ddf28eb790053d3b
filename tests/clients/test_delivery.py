"""Waiting until a reader has done with a message."""

from __future__ import annotations

import asyncio

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Await, Reply

from tests.support.broker import running_broker

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, Line, scenario
from .test_against_broker import connect, tell


async def published(client: outlast.Client, line: Line) -> outlast.Ack:
    """The Ack of a message at offset 7."""
    publishing = asyncio.create_task(client.channel("c").publish("hello"))
    await line.open()
    await line.publish(7)
    return await publishing


@scenario
async def test_a_message_is_delivered_when_the_cursor_has_passed_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        assert ack == outlast.Ack(7, 1, EPOCH, False)
        waiting = asyncio.create_task(ack.delivered(cursor="phone", timeout=30))
        ask = await line.expect(Await, number=NUMBER, cursor="phone", offset=7)
        assert 29_000 < ask.timeout_ms <= 30_000
        line.say(Reply(ask.request, {"offset": 9}))
        await waiting


@scenario
async def test_it_survives_reconnects(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        waiting = asyncio.create_task(ack.delivered(cursor="phone"))
        await line.expect(Await)
        line.cut()
        line = await broker.greeted()
        await line.open()
        ask = await line.expect(Await, offset=7)
        line.refuse(ask.request, ErrorCode.GOING_AWAY, retry_after_ms=1)
        ask = await line.expect(Await, offset=7)
        line.say(Reply(ask.request, {"offset": 7}))
        await waiting


@scenario
async def test_when_the_time_is_up_it_says_where_the_cursor_stands(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        waiting = asyncio.create_task(ack.delivered(cursor="phone", timeout=0))
        ask = await line.expect(Await, timeout_ms=0)
        line.refuse(ask.request, ErrorCode.CURSOR_BEHIND, offset=3)
        with pytest.raises(outlast.NotDelivered) as raised:
            await waiting
        assert (raised.value.code, raised.value.offset, raised.value.retryable) == ("cursor_behind", 3, True)


@scenario
async def test_a_broker_that_gives_up_early_is_asked_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        waiting = asyncio.create_task(ack.delivered(cursor="phone", timeout=None))
        ask = await line.expect(Await, timeout_ms=3_600_000)
        line.refuse(ask.request, ErrorCode.CURSOR_BEHIND, offset=3)
        ask = await line.expect(Await, timeout_ms=3_600_000)
        line.say(Reply(ask.request, {"offset": 7}))
        await waiting


@scenario
async def test_without_a_broker_the_time_is_up_as_well(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        await broker.stop()
        with pytest.raises(outlast.NotDelivered) as raised:
            await ack.delivered(cursor="phone", timeout=0.01)
        assert raised.value.offset == 0


@scenario
async def test_the_next_life_of_a_channel_does_not_count(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        waiting = asyncio.create_task(ack.delivered(cursor="phone"))
        line.refuse((await line.expect(Await)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(epoch=NEXT_EPOCH)
        with pytest.raises(outlast.StaleEpoch) as raised:
            await waiting
        assert raised.value.epoch == NEXT_EPOCH


@scenario
async def test_arguments_are_checked_first(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        ack = await published(client, line)
        with pytest.raises(ValueError, match="cursor"):
            await ack.delivered(cursor="")
        with pytest.raises(ValueError, match="cursor"):
            await client.channel("c").delivered(7, cursor="")
        await line.expect_nothing()
    with pytest.raises(RuntimeError, match="client"):
        await outlast.Ack(7, 1, EPOCH, False).delivered(cursor="phone")


@scenario
async def test_a_duplicate_without_a_place_cannot_be_waited_for(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        publishing = asyncio.create_task(client.channel("c").publish("hello"))
        await line.open()
        await line.publish(0, True)
        with pytest.raises(ValueError, match="offset"):
            await (await publishing).delivered(cursor="phone")


def test_against_the_real_broker() -> None:
    with running_broker() as broker:
        tell(deliver, f"outlast+unix://{broker.path}")


async def deliver(url: str) -> None:
    async with connect(url) as author, connect(url) as phone:
        channel = author.channel("room")
        acks = [await channel.publish(text) for text in ("one", "two")]
        with pytest.raises(outlast.NotDelivered) as raised:
            await acks[0].delivered(cursor="phone", timeout=0.01)
        assert raised.value.offset == 0
        waiting = asyncio.create_task(acks[1].delivered(cursor="phone"))
        async with phone.channel("room").subscribe(cursor="phone", ack="manual") as reader:
            async for record in reader:
                record.ack()
                if record.offset == acks[1].offset:
                    break
            await waiting
        await channel.delivered(acks[1].position, cursor="phone", timeout=0.01)
        await channel.delivered(1, cursor="phone")
        with pytest.raises(outlast.OffsetAhead):
            await channel.delivered(3, cursor="phone")
        third = await channel.publish("three")
        waiting = asyncio.create_task(third.delivered(cursor="phone"))
        await asyncio.sleep(0)
        await channel.delete()
        with pytest.raises(outlast.UnknownChannel):
            await waiting
        with pytest.raises(outlast.UnknownChannel):
            await third.delivered(cursor="phone")
