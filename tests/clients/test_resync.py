"""What cannot be resumed is said: trimmed, recreated, deleted, and what a refusal of SUBSCRIBE means."""

from __future__ import annotations

import asyncio

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import (
    Open,
    Resync,
    Subscribe,
)

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, offsets, scenario, stored, take


@scenario
async def test_trimmed_while_away_is_raised_and_iterating_goes_on(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(after=f"{EPOCH:016x}:3")
        reading = asyncio.create_task(take(subscription, 1))
        await line.open(first=51, last=90)
        await line.accept(50, resync="trimmed", after=3, epoch=EPOCH)
        line.deliver(stored(51, "a"))
        with pytest.raises(outlast.Resync) as caught:
            await reading
        assert (caught.value.reason, caught.value.position) == ("trimmed", outlast.Position(EPOCH, 50))
        assert offsets(await take(subscription, 1)) == [51]


@scenario
async def test_trimmed_while_reading(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, "a"))
        line.say(Resync(NUMBER, "trimmed", 50, EPOCH))
        line.deliver(stored(51, "b"))
        assert offsets(await take(subscription, 1)) == [1]
        with pytest.raises(outlast.Resync):
            await anext(subscription)
        assert subscription.position == outlast.Position(EPOCH, 50)
        assert offsets(await take(subscription, 1)) == [51]


@scenario
async def test_recreated_while_away_goes_to_the_callback(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        said: list[outlast.Resync] = []

        async def on_resync(resync: outlast.Resync) -> None:
            await asyncio.sleep(0)
            said.append(resync)

        subscription = client.channel("c").subscribe(after=f"{EPOCH:016x}:3", on_resync=on_resync)
        reading = asyncio.create_task(take(subscription, 2))
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, resync="recreated")
        line.deliver(stored(1, "a", "b"))
        records = await reading
        assert [str(record.position) for record in records] == [f"{NEXT_EPOCH:016x}:1", f"{NEXT_EPOCH:016x}:2"]
        assert [(resync.reason, resync.position) for resync in said] == [("recreated", outlast.Position(NEXT_EPOCH, 0))]


@scenario
async def test_deleted_is_opened_again_when_its_user_goes_on(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, "a"))
        line.say(Resync(NUMBER, "deleted", 1, EPOCH))
        assert offsets(await take(subscription, 1)) == [1]
        with pytest.raises(outlast.Resync) as caught:
            await anext(subscription)
        assert (caught.value.reason, caught.value.position, subscription.position) == ("deleted", None, None)
        await line.expect_nothing()
        reading = asyncio.create_task(take(subscription, 1))
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, start="earliest", after=None)
        line.deliver(stored(1, "b"))
        assert [record.data for record in await reading] == ["b"]


@scenario
async def test_deleted_with_a_callback_goes_on_by_itself(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        said: list[str] = []
        subscription = client.channel("c").subscribe(on_resync=lambda resync: said.append(resync.reason))
        reading = asyncio.create_task(take(subscription, 1))
        await line.open()
        await line.accept(0)
        line.say(Resync(NUMBER, "deleted", 0, EPOCH))
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, start="earliest")
        line.deliver(stored(1, "b"))
        await reading
        assert said == ["deleted"]


@scenario
async def test_deleted_and_then_cut_does_not_bring_the_channel_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, "a"))
        line.say(Resync(NUMBER, "deleted", 1, EPOCH))
        await line.expect_nothing()
        line.cut()
        line = await broker.greeted()
        await line.expect_nothing()
        assert offsets(await take(subscription, 1)) == [1]
        with pytest.raises(outlast.Resync, match="deleted"):
            await anext(subscription)


@scenario
async def test_a_position_that_cannot_be_is_refused(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(after=100)
        reading = asyncio.create_task(take(subscription, 1))
        await line.open()
        request = await line.expect(Subscribe)
        line.refuse(request.request, ErrorCode.OFFSET_AHEAD, last=9)
        with pytest.raises(outlast.OffsetAhead) as caught:
            await reading
        assert caught.value.last == 9
        with pytest.raises(outlast.OffsetAhead):
            await anext(subscription)


@scenario
async def test_a_number_that_died_before_subscribing_is_asked_for_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(take(client.channel("c").subscribe(), 1))
        await line.open()
        line.refuse((await line.expect(Subscribe)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH)
        line.deliver(stored(1, "a"))
        assert offsets(await reading) == [1]


@scenario
async def test_a_retryable_refusal_is_tried_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        reading = asyncio.create_task(take(client.channel("c").subscribe(), 1))
        line.refuse((await line.expect(Open)).request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await line.open()
        line.refuse((await line.expect(Subscribe)).request, ErrorCode.GOING_AWAY, retry_after_ms=1)
        await line.accept(0)
        line.deliver(stored(1, "a"))
        assert offsets(await reading) == [1]
