"""Subscriptions against a broker that does what the test says: resume, resync, credit, two of one channel."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

import outlast
import pytest
from outlast_protocol import Data, ErrorCode, Frame, Malformed
from outlast_protocol.frames import (
    Credit,
    Deliver,
    Open,
    Opened,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from outlast_protocol.tile import make_tile

from .fake_broker import (
    EPOCH,
    NEXT_EPOCH,
    NUMBER,
    TIME_MS,
    FakeBroker,
    Line,
    offsets,
    play,
    scenario,
    stored,
    take,
    welcome,
)


@scenario
async def test_records_of_several_frames_and_batches(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest", window_bytes=5_000)
        reading = asyncio.create_task(take(subscription, 4))
        await line.open()
        await line.accept(0, credit=5_000, start="earliest", after=None, last=None, since_ms=None)
        line.deliver(stored(1, "a", name="token"), stored(2, b"b"))
        line.deliver(stored(3, {"c": 1}, [4]))
        records = await reading
        assert [record.data for record in records] == ["a", b"b", {"c": 1}, [4]]
        assert offsets(records) == [1, 2, 3, 4]
        assert (records[0].name, records[0].client_id, records[0].epoch) == ("token", "writer", EPOCH)
        assert subscription.position == records[-1].position


@scenario
async def test_nothing_is_sent_before_it_is_iterated(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe()
        await line.expect_nothing()
        assert subscription.position is None


@scenario
async def test_entering_waits_until_it_is_accepted(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").subscribe().__aenter__())
        await line.open()
        await line.accept(7, start="latest")
        subscription = await entering
        assert subscription.position == outlast.Position(EPOCH, 7)
        await subscription.close()
        await line.expect(Unsubscribe, number=NUMBER)


@scenario
async def test_entering_that_is_cancelled_leaves_nothing_behind(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe()
        entering = asyncio.create_task(subscription.__aenter__())
        opened = await line.expect(Open)
        entering.cancel()
        await asyncio.wait({entering})
        line.say(Opened(opened.request, NUMBER, EPOCH, 1, 7))
        await line.expect_nothing()


@scenario
async def test_entering_that_is_cancelled_late_is_taken_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe()
        entering = asyncio.create_task(subscription.__aenter__())
        await line.open()
        await line.expect(Subscribe)
        entering.cancel()
        await asyncio.wait({entering})
        await line.expect(Unsubscribe, number=NUMBER)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"after": 5}, {"after": 5, "epoch": None}),
        ({"after": f"{EPOCH:016x}:5"}, {"after": 5, "epoch": EPOCH}),
        ({"last": 5}, {"last": 5, "start": None}),
        ({"since": 5}, {"since_ms": 5}),
        ({"start": "latest"}, {"start": "latest"}),
        ({}, {"start": "latest"}),
    ],
)
def test_starts(given: dict[str, Any], asked: dict[str, Any]) -> None:
    async def starts(broker: FakeBroker) -> None:
        async with broker.joined() as (client, line):
            entering = asyncio.create_task(client.channel("c").subscribe(**given).__aenter__())
            await line.open()
            await line.accept(5, **asked)
            await entering

    play(starts)


@scenario
async def test_buffered_records_need_no_loop_turn(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, *range(100)))
        await anext(subscription)
        assert subscription.buffered == 99
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(turn)
        assert offsets(await take(subscription, 99)) == list(range(2, 101))
        assert turns == 0


@scenario
async def test_resumes_behind_the_last_record_handed_over(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest")
        reading = asyncio.create_task(take(subscription, 2))
        await line.open()
        await line.accept(0)
        line.deliver(stored(1, "a", "b", "c"), stored(4, "d"))
        await reading
        line.cut()
        line = await broker.greeted()
        await line.open(last=6)
        await line.accept(2, after=2, epoch=EPOCH)
        line.deliver(stored(1, "a", "b", "c"), stored(4, "d"), stored(5, "e"))
        records = await take(subscription, 3)
        assert [(record.offset, record.data) for record in records] == [(3, "c"), (4, "d"), (5, "e")]


@scenario
async def test_what_came_during_the_outage_is_not_missed_by_a_latest_one(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").subscribe().__aenter__())
        await line.open()
        await line.accept(7, start="latest")
        subscription = await entering
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.accept(7, after=7, epoch=EPOCH)
        line.deliver(stored(8, "during"))
        assert (await anext(subscription)).data == "during"


@scenario
async def test_a_hole_drops_the_connection_and_the_rest_comes_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest")
        reading = asyncio.create_task(take(subscription, 3))
        await line.open()
        await line.accept(0)
        line.deliver(stored(1, "a"))
        line.deliver(stored(3, "c"))
        await line.ended.wait()
        line = await broker.greeted()
        await line.open()
        request = await line.expect(Subscribe)
        have = request.after or 0
        assert have in (0, 1)
        line.say(Subscribed(request.request, have, EPOCH, 1, 3))
        line.deliver(stored(1, "a"), stored(2, "b"), stored(3, "c"))
        assert offsets(await reading) == [1, 2, 3]


@scenario
async def test_damaged_bytes_are_fetched_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest")
        reading = asyncio.create_task(take(subscription, 2))
        await line.open()
        await line.accept(0)
        line.deliver(stored(1, "a")[:-1] + b"?")
        line.deliver(stored(2, "b"))
        await line.ended.wait()
        line = await broker.greeted()
        await line.open()
        await line.accept(0, after=0, epoch=EPOCH)
        line.deliver(stored(1, "a"), stored(2, "b"))
        assert [record.data for record in await reading] == ["a", "b"]


@scenario
async def test_nothing_behind_damaged_bytes_is_handed_over(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        line.deliver(stored(1, "a")[:-1] + b"?")
        line.deliver(stored(2, "b"))
        await line.expect_nothing()
        assert subscription.buffered == 2
        reading = asyncio.create_task(take(subscription, 1))
        await asyncio.sleep(0)
        assert subscription.buffered == 0
        reading.cancel()


@scenario
async def test_what_comes_before_the_answer_is_nobodys(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        reading = asyncio.create_task(take(subscription, 1))
        await line.expect_nothing()
        line.cut()
        line = await broker.greeted()
        request = await line.expect(Open)
        line.deliver(stored(1, "of another life"))
        await line.expect_nothing()
        line.say(Opened(request.request, NUMBER, EPOCH, 1, 0))
        await line.accept(0)
        line.deliver(stored(1, "a"))
        assert [record.data for record in await reading] == ["a"]


# --- credit ---------------------------------------------------------------------------------------------------


@scenario
async def test_a_stalled_consumer_grants_nothing_and_stalls_nobody_else(broker: FakeBroker) -> None:
    async with (
        broker.joined() as (client, line),
        broker.subscribed(client, line, window_bytes=1_000) as subscription,
    ):
        batch = stored(1, "x" * 2_000)
        line.deliver(batch)
        await line.expect_nothing()
        publishing = client.channel("c").publish_nowait("y")
        await line.publish(2)
        await publishing
        await anext(subscription)
        await line.expect_nothing()
        waiting = asyncio.create_task(take(subscription, 1))
        assert await line.credited() == 16 + len(batch)
        line.deliver(stored(2, "y"))
        await waiting


@scenario
async def test_credit_keeps_a_long_stream_going(broker: FakeBroker) -> None:
    """The broker sends only what it has credit for, as the real one does."""
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest", window_bytes=3_000)
        reading = asyncio.create_task(take(subscription, 200))
        await line.open()
        credit = (await line.accept(0)).credit
        for offset in range(1, 201):
            while credit <= 0:
                credit += await line.credited()
            batch = stored(offset, "x" * 700)
            line.deliver(batch)
            credit -= 16 + len(batch)
            assert credit <= 3_000
        assert offsets(await reading) == list(range(1, 201))


@scenario
async def test_the_window_is_within_the_brokers_limit(broker: FakeBroker) -> None:
    async with broker.joined(welcome(credit_bytes=2_000)) as (client, line):
        reading = asyncio.create_task(take(client.channel("c").subscribe(window_bytes=9_000), 1))
        await line.open()
        await line.accept(0, credit=2_000)
        line.deliver(stored(1, "a"))
        await reading


# --- several, and their end -------------------------------------------------------------------------------------


@scenario
async def test_two_of_one_channel_use_two_connections(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        async with broker.subscribed(client, line) as first:
            entering = asyncio.create_task(channel.subscribe(start="earliest").__aenter__())
            extra = await broker.accepted()
            hello = await extra.greet()
            assert (hello.client_id, hello.producer) == ("agent", None)
            await extra.open()
            await extra.accept(0, start="earliest")
            second = await entering
            line.deliver(stored(1, "a"))
            extra.deliver(stored(1, "a"))
            assert offsets(await take(first, 1) + await take(second, 1)) == [1, 1]
            assert not extra.ended.is_set()
            await second.close()
            await extra.ended.wait()
        await line.expect(Unsubscribe)
        again = asyncio.create_task(take(channel.subscribe(start="earliest"), 1))
        await line.accept(0, start="earliest")
        line.deliver(stored(1, "a"))
        await again
        assert len(broker.lines) == 2


@scenario
async def test_the_extra_connection_comes_back_by_itself(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line):
        reading = asyncio.create_task(take(client.channel("c").subscribe(start="earliest"), 2))
        extra = await broker.greeted()
        await extra.open()
        await extra.accept(0)
        extra.deliver(stored(1, "a"))
        extra.close()
        extra = await broker.greeted()
        await extra.open()
        request = await extra.expect(Subscribe)
        extra.say(Subscribed(request.request, request.after or 0, EPOCH, 1, 2))
        extra.deliver(stored(1, "a", "b"))
        assert offsets(await reading) == [1, 2]
        await line.expect_nothing()


@scenario
async def test_two_channels_share_the_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as first:
        reading = asyncio.create_task(take(client.channel("d").subscribe(start="earliest"), 1))
        await line.open("d", number=10)
        request = await line.expect(Subscribe, number=10)
        line.say(Subscribed(request.request, 0, EPOCH, 1, 0), Deliver(10, stored(1, "d")))
        line.deliver(stored(1, "c"))
        assert [record.data for record in await reading + await take(first, 1)] == ["d", "c"]
        assert len(broker.lines) == 1


@scenario
async def test_closing_ends_the_iteration(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        seen = asyncio.create_task(_all(subscription))
        line.deliver(stored(1, "a"))
        await line.expect_nothing()
        await subscription.close()
        assert await seen == [1]
        await line.expect(Unsubscribe, number=NUMBER)
        line.deliver(stored(2, "late"))
        await line.expect_nothing()
        assert await _all(subscription) == []


@scenario
async def test_closing_before_the_answer_leaves_nothing_behind(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe()
        seen = asyncio.create_task(_all(subscription))
        await line.open()
        request = await line.expect(Subscribe)
        await subscription.close()
        await line.expect(Unsubscribe, number=NUMBER)
        line.say(Subscribed(request.request, 0, EPOCH, 1, 0))
        assert await seen == []
        line.deliver(stored(1, "late"))
        await line.expect_nothing()


@scenario
async def test_breaking_out_of_a_loop_unsubscribes(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):

        async def first_record() -> int:
            async for record in client.channel("c").subscribe(start="earliest"):
                return record.offset
            return 0

        for again in (False, True):
            reading = asyncio.create_task(first_record())
            if not again:
                await line.open()
            await line.accept(0)
            line.deliver(stored(1, "a"))
            assert await reading == 1
            gc.collect()
            await line.expect(Unsubscribe, number=NUMBER)
        assert len(broker.lines) == 1


@scenario
async def test_subscribing_right_after_breaking_out_stays_on_the_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):

        async def twice() -> list[int]:
            seen = []
            for _ in range(2):
                async for record in client.channel("c").subscribe(start="earliest"):
                    seen.append(record.offset)
                    break
            return seen

        reading = asyncio.create_task(twice())
        await line.open()
        await line.accept(0)
        line.deliver(stored(1, "a"))
        await line.expect(Unsubscribe, number=NUMBER)
        await line.accept(0)
        line.deliver(stored(1, "a"))
        assert await reading == [1, 1]
        assert len(broker.lines) == 1


@scenario
async def test_closing_the_client_fails_who_is_reading(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        seen = asyncio.create_task(_all(subscription))
        await line.expect_nothing()
        await client.close()
        with pytest.raises(outlast.Closed):
            await seen


@scenario
async def test_two_tasks_cannot_iterate_one(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        first = asyncio.create_task(take(subscription, 1))
        await line.expect_nothing()
        with pytest.raises(RuntimeError, match="two tasks iterate one subscription"):
            await anext(subscription)
        line.deliver(stored(1, "a"))
        assert offsets(await first) == [1]


@scenario
async def test_cancelled_waiting_loses_nothing(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        waiting = asyncio.create_task(take(subscription, 1))
        await line.expect_nothing()
        waiting.cancel()
        await asyncio.wait({waiting})
        line.deliver(stored(1, "a", "b"))
        assert offsets(await take(subscription, 2)) == [1, 2]


# --- cut everywhere ---------------------------------------------------------------------------------------------

LOG = [stored(1, "a", "b", "c"), stored(4, {"d": 1}), stored(5, b"e", name="token"), stored(6, "f", "g")]


def replaying(line: Line, frame: Frame | Malformed) -> None:
    """A broker with LOG in its one channel, which acknowledges every publish."""
    if isinstance(frame, Open):
        line.say(Opened(frame.request, NUMBER, EPOCH, 1, 7))
    elif isinstance(frame, Subscribe):
        have = frame.after or 0
        line.say(Subscribed(frame.request, have, EPOCH, 1, 7))
        rest = [batch for batch, last in zip(LOG, (3, 4, 5, 7), strict=True) if last > have]
        if rest:
            line.say(Deliver(NUMBER, rest[0]))
        if rest[1:]:
            line.say(Deliver(NUMBER, b"".join(rest[1:])))
    elif isinstance(frame, Publish):
        line.say(Published([(frame.request, 8, False)]))
    elif not isinstance(frame, Credit | Unsubscribe):
        line.say(welcome())


# Together they take longer than a test's patience on a busy machine.
CUT_SHARES = 4


@pytest.mark.parametrize("share", range(CUT_SHARES))
def test_cut_after_every_byte_each_record_comes_once(share: int) -> None:
    play(partial(_cut_after_every_byte, share))


async def _cut_after_every_byte(share: int, broker: FakeBroker) -> None:
    broker.script = replaying
    limits: list[int | None] = [None]

    def limit(line: Line) -> None:
        line.bytes_left = limits.pop() if limits else None

    broker.on_connect = limit
    assert await _read_log(broker) == ["a", "b", "c", {"d": 1}, b"e", "f", "g"]
    said = broker.lines[0].bytes_said
    cuts = range(1 + share, said, CUT_SHARES)
    for cut_bytes in cuts:
        limits.append(cut_bytes)
        assert await _read_log(broker) == ["a", "b", "c", {"d": 1}, b"e", "f", "g"], f"cut after {cut_bytes} bytes"
    assert len(broker.lines) == 1 + 2 * len(cuts)


async def _read_log(broker: FakeBroker) -> list[Data]:
    """What one subscriber is given, over as many connections as it takes."""
    async with broker.connect() as client:
        records = await take(client.channel("c").subscribe(start="earliest"), 7)
    assert offsets(records) == [1, 2, 3, 4, 5, 6, 7]
    return [record.data for record in records]


async def _all(subscription: outlast.Subscription) -> list[int]:
    return [record.offset async for record in subscription]


@scenario
async def test_stored_bytes_that_are_damaged_end_the_iteration(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        subscription = client.channel("c").subscribe(start="earliest")
        reading = asyncio.create_task(take(subscription, 2))
        await line.open()
        await line.accept(0, start="earliest")
        line.deliver(stored(1, "whole"))
        line.refuse(0, ErrorCode.DAMAGED, number=NUMBER)
        with pytest.raises(outlast.Damaged):
            await reading


@scenario
async def test_until_ends_the_iteration_where_it_says(broker: FakeBroker) -> None:
    """Also where no record is left: tiles stand for those that are gone."""
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        subscription.until = outlast.Position(EPOCH, 6)
        line.deliver(stored(1, "a"), make_tile(2, 4, TIME_MS, stored(3, "c")))
        line.deliver(make_tile(5, 7, TIME_MS, b""))
        assert [record.offset async for record in subscription] == [1, 3]
        assert subscription.position == outlast.Position(EPOCH, 7)
        subscription.until = outlast.Position(EPOCH, 9)
        line.deliver(stored(8, "a", "b", "c"))
        assert [record.offset async for record in subscription] == [8, 9]
        subscription.until = None
        assert (await anext(subscription)).offset == 10


@scenario
async def test_until_ends_with_the_channels_life(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line) as subscription:
        subscription.until = outlast.Position(EPOCH, 6)
        line.cut()
        line = await broker.greeted()
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, NEXT_EPOCH, "recreated")
        with pytest.raises(outlast.Resync):
            await anext(subscription)
        assert [record async for record in subscription] == []
