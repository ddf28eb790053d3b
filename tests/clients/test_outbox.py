"""Publishing against a broker that does what the test says: batching, resending, waiting, closing."""

from __future__ import annotations

import asyncio

import outlast
import pytest
from outlast.rows import make_row
from outlast_protocol import ErrorCode, batch
from outlast_protocol.frames import UNCONDITIONAL, GoAway, Open, Publish, Published

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, datas_of, scenario, welcome


@scenario
async def test_an_acknowledged_publish(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = asyncio.create_task(client.channel("c").publish("hello", name="token", headers={"k": "v"}))
        await line.open()
        publish = await line.publish(5, number=NUMBER, sequence=1, if_offset=UNCONDITIONAL)
        assert await waiting == outlast.Ack(offset=5, records=1, epoch=EPOCH, duplicate=False)
        assert batch.check_batch(publish.batch, b"agent") == 1
        record = batch.read_records(publish.batch)[0]
        assert (record.decoded(), record.name, record.headers) == ("hello", "token", {"k": "v"})


@scenario
async def test_the_first_goes_at_once_and_the_rest_as_one(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait("a")
        await line.open()
        publish = await line.expect(Publish, sequence=1)
        rest = [channel.publish_nowait(name) for name in "bcd"]
        await line.expect_nothing()
        line.say(Published([(publish.request, 1, False)]))
        assert datas_of(await line.publish(2, sequence=2)) == ["b", "c", "d"]
        acks = await asyncio.gather(first, *rest)
        assert [ack.offset for ack in acks] == [1, 2, 3, 4]
        await line.expect_nothing()


@scenario
async def test_publishes_of_one_turn_go_together(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        both = asyncio.gather(*(client.channel("c").publish(n) for n in range(3)))
        await line.open()
        assert datas_of(await line.publish(1)) == [0, 1, 2]
        assert [ack.offset for ack in await both] == [1, 2, 3]


@scenario
async def test_channels_do_not_wait_for_each_other(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        client.channel("one").publish_nowait("a")
        await line.open("one", number=1)
        await line.expect(Publish, number=1)
        second = client.channel("two").publish_nowait("b")
        await line.open("two", number=2)
        await line.publish(1, number=2, sequence=1)
        assert (await second).offset == 1


@scenario
async def test_resent_under_the_same_sequence_after_a_cut(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait("a")
        await line.open()
        lost = await line.expect(Publish, sequence=1)
        second = channel.publish_nowait("b")
        line.cut()
        line = await broker.greeted()
        await line.open(last=1)
        again = await line.publish(1, duplicate=True, sequence=1)
        assert again.batch == lost.batch
        assert await first == outlast.Ack(1, 1, EPOCH, duplicate=True)
        assert datas_of(await line.publish(2, sequence=2)) == ["b"]
        assert (await second).offset == 2


@scenario
async def test_cut_before_the_channel_was_open(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        await line.expect(Open)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.publish(1, sequence=1)
        assert (await waiting).offset == 1


@scenario
async def test_published_while_there_is_no_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        line.cut()
        await line.ended.wait()
        waiting = [client.channel("c").publish_nowait(n) for n in range(3)]
        line = await broker.greeted()
        await line.open()
        assert datas_of(await line.publish(1, sequence=1)) == [0, 1, 2]
        await asyncio.gather(*waiting)


@scenario
async def test_a_new_life_gets_what_was_not_acknowledged(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        await line.open()
        await line.expect(Publish)
        line.cut()
        line = await broker.greeted()
        await line.open(number=10, epoch=NEXT_EPOCH)
        await line.publish(1, number=10, sequence=1)
        assert (await waiting).epoch == NEXT_EPOCH


@scenario
async def test_deleted_under_us_is_opened_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        await line.open()
        publish = await line.expect(Publish, sequence=1)
        line.refuse(publish.request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(number=10, epoch=NEXT_EPOCH)
        await line.publish(1, number=10, sequence=1)
        assert (await waiting).position == outlast.Position(NEXT_EPOCH, 1)


@scenario
async def test_a_refusal_fails_its_own_and_gives_its_sequence_to_the_next(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        conditional = channel.publish_nowait("a", if_offset=3)
        following = channel.publish_nowait("b")
        await line.open(last=9)
        publish = await line.expect(Publish, sequence=1, if_offset=3)
        line.refuse(publish.request, ErrorCode.OFFSET_MISMATCH, last=9)
        await line.publish(10, sequence=1)
        with pytest.raises(outlast.OffsetMismatch) as caught:
            await conditional
        assert caught.value.last == 9
        assert (await following).offset == 10


@scenario
async def test_a_retryable_refusal_is_tried_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        await line.open()
        publish = await line.expect(Publish, sequence=1)
        refused_s = asyncio.get_running_loop().time()
        line.refuse(publish.request, ErrorCode.READ_ONLY, retry_after_ms=30)
        await line.publish(1, sequence=1)
        assert asyncio.get_running_loop().time() - refused_s >= 0.03
        assert (await waiting).offset == 1


@scenario
async def test_a_refused_channel_fails_everything_for_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = [client.channel("c").publish_nowait(n) for n in range(2)]
        request = await line.expect(Open)
        line.refuse(request.request, ErrorCode.LIMIT_EXCEEDED, limit=1, value=2)
        for future in waiting:
            with pytest.raises(outlast.LimitExceeded):
                await future


@scenario
async def test_a_channel_that_cannot_be_made_now_is_asked_for_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        request = await line.expect(Open)
        line.refuse(request.request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await line.open()
        await line.publish(1)
        assert (await waiting).offset == 1


@scenario
async def test_many_are_one_batch(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        single = channel.publish_nowait("a")
        many = asyncio.create_task(channel.publish_many(["b", outlast.Message({"c": 1}, "n", {"k": "v"}), b"d"]))
        await line.open()
        await line.publish(1, sequence=1)
        publish = await line.publish(2, sequence=2)
        assert datas_of(publish) == ["b", {"c": 1}, b"d"]
        assert [record.name for record in batch.read_records(publish.batch)] == [None, "n", None]
        ack = await many
        assert (list(ack.offsets), ack.position.offset, (await single).offset) == ([2, 3, 4], 4, 1)


@scenario
async def test_too_large_is_said_at_once_and_harms_nobody(broker: FakeBroker) -> None:
    async with broker.joined(welcome(batch_bytes=1_000)) as (client, line):
        channel = client.channel("c")
        with pytest.raises(outlast.TooLarge):
            channel.publish_nowait(b"x" * 1_000)
        with pytest.raises(outlast.TooLarge):
            await channel.publish_many([b"x" * 500, b"y" * 500])
        await line.expect_nothing()
        waiting = channel.publish_nowait(b"x" * 900)
        await line.open()
        await line.publish(1, sequence=1)
        await waiting


@scenario
async def test_when_full_raise(broker: FakeBroker) -> None:
    async with broker.joined(buffer_bytes=1_000, when_full="raise") as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait(b"x" * 500)
        with pytest.raises(outlast.BufferFull):
            await channel.publish(b"y" * 500)
        await line.open()
        await line.publish(1)
        await first
        second = channel.publish_nowait(b"y" * 500)
        assert datas_of(await line.publish(2)) == [b"y" * 500]
        await second


@scenario
async def test_when_full_wait(broker: FakeBroker) -> None:
    async with broker.joined(buffer_bytes=1_000) as (client, line):
        channel = client.channel("c")
        tasks = [asyncio.create_task(channel.publish(bytes([n]) * 500)) for n in range(4)]
        await line.open()
        with pytest.raises(outlast.BufferFull):
            channel.publish_nowait(b"small")
        for n in range(4):
            publish = await line.expect(Publish, sequence=n + 1)
            assert datas_of(publish) == [bytes([n]) * 500]
            assert not any(task.done() for task in tasks[n:])
            line.say(Published([(publish.request, n + 1, False)]))
        assert [ack.offset for ack in await asyncio.gather(*tasks)] == [1, 2, 3, 4]


@scenario
async def test_one_message_is_let_in_however_small_the_buffer(broker: FakeBroker) -> None:
    async with broker.joined(buffer_bytes=1) as (client, line):
        waiting = asyncio.gather(*(client.channel("c").publish(n) for n in range(3)))
        await line.open()
        for n in range(3):
            assert datas_of(await line.publish(n + 1)) == [n]
        await waiting


@scenario
async def test_who_stops_waiting_for_room_lets_the_next_in(broker: FakeBroker) -> None:
    async with broker.joined(buffer_bytes=2_000) as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait(b"x" * 1_000)
        await line.open()
        await line.expect(Publish)
        large = asyncio.create_task(channel.publish(b"y" * 1_000))
        small = asyncio.create_task(channel.publish(b"z"))
        await line.expect_nothing()
        large.cancel()
        await asyncio.wait({large})
        await line.expect_nothing()
        with pytest.raises(outlast.BufferFull):
            channel.publish_nowait(b"y" * 1_000)
        line.cut()
        line = await broker.greeted()
        await line.open()
        assert datas_of(await line.publish(1)) == [b"x" * 1_000]
        assert datas_of(await line.publish(2)) == [b"z"]
        await asyncio.gather(first, small)


@scenario
async def test_cancelling_does_not_withdraw(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        waiting = asyncio.create_task(client.channel("c").publish("a"))
        await line.open()
        publish = await line.expect(Publish)
        waiting.cancel()
        await asyncio.wait({waiting})
        following = client.channel("c").publish_nowait("b")
        line.say(Published([(publish.request, 1, False)]))
        await line.publish(2, sequence=2)
        assert (await following).offset == 2


@scenario
async def test_closing_waits_for_acknowledgements(broker: FakeBroker) -> None:
    async with broker.joined(close_timeout=9) as (client, line):
        channel = client.channel("c")
        first, second = channel.publish_nowait("a"), channel.publish_nowait("b", if_offset=1)
        closing = asyncio.create_task(client.close())
        await line.open()
        await line.publish(1)
        await line.publish(2)
        await closing
        assert ((await first).offset, (await second).offset) == (1, 2)
        with pytest.raises(outlast.Closed):
            await channel.publish("late")
        await line.ended.wait()


@scenario
async def test_closing_gives_up_and_says_so(broker: FakeBroker) -> None:
    async with broker.joined(close_timeout=0.01, buffer_bytes=300) as (client, line):
        channel = client.channel("c")
        sent = channel.publish_nowait("a")
        held = asyncio.create_task(channel.publish("b" * 100))
        await line.open()
        await line.expect(Publish)
        await client.close()
        for unanswered in (sent, held):
            with pytest.raises(outlast.Closed, match="before the broker acknowledged"):
                await unanswered


@scenario
async def test_an_acknowledgement_still_counts_while_the_broker_leaves(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait("a")
        await line.open()
        publish = await line.expect(Publish)
        line.say(GoAway("upgrade", 1))
        second = channel.publish_nowait("b")
        await line.expect_nothing()
        line.say(Published([(publish.request, 1, False)]))
        assert (await first).offset == 1
        line = await broker.greeted()
        await line.open(last=1)
        assert datas_of(await line.publish(2, sequence=2)) == ["b"]
        assert (await second).offset == 2


@scenario
async def test_time_to_live(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        waiting = asyncio.gather(channel.publish("a", ttl=1.5), channel.publish("b"))
        many = asyncio.create_task(channel.publish_many(["c", outlast.Message("d", ttl=2)]))
        await line.open()
        publishes = [await line.publish(1), await line.publish(3)]
        records = [record for publish in publishes for record in batch.read_records(publish.batch)]
        assert [record.ttl_ms for record in records] == [1500, 0, 0, 2000]
        await waiting
        await many


@scenario
async def test_a_message_is_closed_whatever_else_waits(broker: FakeBroker) -> None:
    async with broker.joined(buffer_bytes=600, when_full="raise") as (client, line):
        message = client.channel("c").message()
        message.append_nowait("a")
        with pytest.raises(outlast.BufferFull):
            message.append_nowait("b")
        closing = asyncio.create_task(message.complete())
        await line.open()
        for offset in (5, 6):
            publish = await line.publish(offset)
        assert [record.decoded() for record in batch.read_records(publish.batch)] == ["a", ""]
        await closing


@scenario
async def test_settled_waits_also_for_what_its_caller_has_cancelled(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        outbox, lane = channel._outbox, channel._lane
        outbox.offer(lane, [make_row("a")], fence=7).cancel()
        settled = asyncio.create_task(outbox.settled(lane, 7))
        await line.open()
        publish = await line.expect(Publish, fence=7)
        await line.expect_nothing()
        assert not settled.done()
        line.refuse(publish.request, ErrorCode.FENCED, token=8)
        await settled
