"""Ephemeral messages: what goes out and when not, and how they are heard with and without a subscription."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import outlast
import pytest
from outlast.ephemeral import OPENING_MAX, WINDOW_BYTES, read_messages
from outlast.link import ROOM_BYTES
from outlast_protocol import ErrorCode
from outlast_protocol.batch import encode_batch, read_records, stamp
from outlast_protocol.frames import Credit, Ephemeral, Open, Resync, Subscribe, Unsubscribe
from outlast_protocol.limits import CONTROL_FRAME_BYTES_MAX

from tests.support.broker import running_broker
from tests.support.proxy import Proxy

from .fake_broker import EPOCH, NUMBER, TIME_MS, FakeBroker, Line, scenario, stored, take
from .test_against_broker import connect, tell


def told(data: Any, client_id: str = "writer") -> Ephemeral:
    """What the broker passes on."""
    return Ephemeral(0, NUMBER, stamp(encode_batch(client_id, [(data, "typing", None)]), 0, TIME_MS))


async def said(line: Line) -> Any:
    [record] = read_records((await line.expect(Ephemeral, number=NUMBER)).batch)
    return record.decoded()


async def heard_by(hearer: outlast.Ephemerals, count: int = 1) -> list[Any]:
    return [(await anext(hearer)).data for _ in range(count)]


async def listening(client: outlast.Client, line: Line, **options: Any) -> outlast.Ephemerals:
    """Somebody who listens to channel "c" by a subscription that only does so."""
    entering = asyncio.create_task(client.channel("c").ephemeral(**options).__aenter__())
    await line.open()
    await line.accept(0, start="latest")
    return await entering


# --- sending ----------------------------------------------------------------------------------------------


@scenario
async def test_it_goes_out_without_a_request_for_an_answer(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        assert channel.send_ephemeral({"typing": True}, name="typing", headers={"k": "v"})
        assert channel.send_ephemeral("b")
        request = await line.open()
        assert request.create is False
        first = await line.expect(Ephemeral, number=NUMBER)
        [record] = read_records(first.batch)
        assert (record.decoded(), record.name, record.headers) == ({"typing": True}, "typing", {"k": "v"})
        second = await line.expect(Ephemeral, request=first.request)
        assert read_records(second.batch)[0].decoded() == "b"
        assert channel.send_ephemeral("c")
        await line.expect(Ephemeral)


@scenario
async def test_nothing_is_kept_over_a_lost_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        assert channel.send_ephemeral("a")
        await line.expect(Open)
        line.cut()
        while client.state == "open":
            await asyncio.sleep(0)
        assert not channel.send_ephemeral("b")
        line = await broker.greeted()
        await line.expect_nothing()
        assert channel.send_ephemeral("c")
        await line.open()
        assert await said(line) == "c"


@scenario
async def test_a_channel_that_does_not_exist_has_nobody_to_tell(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        for _ in range(2):
            assert channel.send_ephemeral("a")
            line.refuse((await line.expect(Open, create=False)).request, ErrorCode.UNKNOWN_CHANNEL)
            await line.expect_nothing()


@scenario
async def test_a_deleted_channel_is_opened_anew(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        channel.send_ephemeral("a")
        await line.open()
        line.refuse((await line.expect(Ephemeral)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.expect_nothing()
        channel.send_ephemeral("b")
        await line.open(number=NUMBER)
        ephemeral = await line.expect(Ephemeral)
        line.refuse(ephemeral.request, ErrorCode.BAD_BATCH)
        await line.expect_nothing()
        channel.send_ephemeral("c")
        assert await said(line) == "c"


@scenario
async def test_before_the_channel_is_open_the_newest_wait(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        for index in range(OPENING_MAX + 5):
            assert channel.send_ephemeral(index)
        await line.open()
        assert [await said(line) for _ in range(OPENING_MAX)] == list(range(5, OPENING_MAX + 5))
        await line.expect_nothing()


@scenario
async def test_a_socket_that_does_not_drain_gets_no_more(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        channel.send_ephemeral("a")
        await line.open()
        await said(line)
        sent = sum(channel.send_ephemeral(bytes(1_000)) for _ in range(1_000))
        assert ROOM_BYTES // 1_100 < sent < ROOM_BYTES // 1_000 + 2
        for _ in range(sent):
            await line.expect(Ephemeral)
        assert channel.send_ephemeral("b")


@scenario
async def test_what_no_frame_holds_is_refused_here(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        most = CONTROL_FRAME_BYTES_MAX - 20 - 36 - len("agent") - 4
        with pytest.raises(outlast.TooLarge, match="65537 bytes as a frame"):
            channel.send_ephemeral(bytes(most + 1))
        with pytest.raises(TypeError):
            channel.send_ephemeral(object())  # type: ignore[arg-type]
        await line.expect_nothing()
        assert channel.send_ephemeral(bytes(most))
        await line.open()
        assert len(await said(line)) == most


# --- listening --------------------------------------------------------------------------------------------


@scenario
async def test_without_a_subscription_the_client_subscribes_for_them(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        line.say(told({"on": 1}))
        message = await anext(hearer)
        assert (message.data, message.name, message.client_id, message.time_ms) == (
            {"on": 1},
            "typing",
            "writer",
            TIME_MS,
        )
        assert message.time.timestamp() * 1000 == TIME_MS
        await hearer.close()
        await line.expect(Unsubscribe)
        with pytest.raises(StopAsyncIteration):
            await anext(hearer)


@scenario
async def test_records_that_nobody_reads_are_dropped_and_their_credit_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        line.deliver(stored(1, bytes(WINDOW_BYTES // 3)))
        assert (await line.expect(Credit)).credit > WINDOW_BYTES // 3
        line.say(told("a"))
        assert await heard_by(hearer) == ["a"]


@scenario
async def test_a_subscription_takes_the_seat_and_leaves_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        entering = asyncio.create_task(client.channel("c").subscribe(start="earliest").__aenter__())
        await line.expect(Unsubscribe)
        await line.accept(0, start="earliest")
        async with await entering as records:
            line.deliver(stored(1, "record"))
            line.say(told("a"))
            assert (await anext(records)).data == "record"
            assert await heard_by(hearer) == ["a"]
        await line.expect(Unsubscribe)
        await line.accept(1, start="latest")
        line.say(told("b"))
        assert await heard_by(hearer) == ["b"]
        assert len(broker.lines) == 1


@scenario
async def test_the_seat_of_a_dropped_subscription_is_for_the_next_one(broker: FakeBroker) -> None:
    async def answer(line: Line) -> None:
        await line.expect(Unsubscribe)
        await line.expect(Subscribe, start="latest")
        await line.expect(Unsubscribe)
        await line.accept(0, start="earliest")

    async with (
        broker.joined() as (client, line),
        broker.subscribed(client, line) as records,
        client.channel("c").ephemeral() as hearer,
    ):
        answering = asyncio.create_task(answer(line))
        records.__del__()  # dropped, and the loop has not got to it yet
        async with client.channel("c").subscribe(start="earliest"):
            await answering
            line.say(told("a"))
            assert await heard_by(hearer) == ["a"]
            assert len(broker.lines) == 1


@scenario
async def test_with_a_subscription_they_come_by_that(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line):
        async with client.channel("c").ephemeral() as hearer, client.channel("c").ephemeral() as other:
            line.say(told("a"))
            assert await heard_by(hearer) == await heard_by(other) == ["a"]
        await line.expect_nothing()


@scenario
async def test_of_two_subscriptions_one_is_listened_to(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), broker.subscribed(client, line):
        entering = asyncio.create_task(client.channel("c").subscribe(start="earliest").__aenter__())
        other = await broker.greeted()
        await other.open()
        await other.accept(0)
        async with await entering, client.channel("c").ephemeral() as hearer:
            other.say(told("a"))
            await other.expect_nothing()
            line.say(told("b"))
            assert await heard_by(hearer) == ["b"]


@scenario
async def test_after_a_lost_connection_it_goes_on_with_what_is_new(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        line.deliver(stored(1, "record"))
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.accept(7, start="latest", after=None)
        line.say(told("a"))
        assert await heard_by(hearer) == ["a"]


@scenario
async def test_the_oldest_make_room(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line, limit=3)
        line.say(*[told(index) for index in range(5)])
        await line.expect_nothing()
        assert hearer.dropped == 2
        assert await heard_by(hearer, 3) == [2, 3, 4]


@scenario
async def test_a_deleted_channel_is_said_and_not_brought_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        line.say(told("a"), Resync(NUMBER, "deleted", 0, EPOCH))
        assert await heard_by(hearer) == ["a"]
        with pytest.raises(outlast.UnknownChannel, match="listen again"):
            await anext(hearer)
        await line.expect_nothing()
        again = await listening(client, line)
        line.say(told("b"))
        assert await heard_by(again) == ["b"]


@scenario
async def test_a_refused_subscription_is_said(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").ephemeral().__aenter__())
        line.refuse((await line.expect(Open)).request, ErrorCode.LIMIT_EXCEEDED, limit="channels", value=1)
        with pytest.raises(outlast.LimitExceeded):
            await entering


@scenario
async def test_what_is_no_batch_costs_the_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        batch = told("a").batch
        line.say(Ephemeral(0, NUMBER, batch[:-1] + b"b"))
        line = await broker.greeted()
        await line.open()
        await line.accept(0)
        line.say(told("c"))
        assert await heard_by(hearer) == ["c"]


@scenario
async def test_dropping_it_ends_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        del hearer
        gc.collect()
        await line.expect(Unsubscribe)


@scenario
async def test_it_ends_with_its_client(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearers = [await listening(client, line), client.channel("c").ephemeral()]
        waiting = [asyncio.create_task(heard_by(hearer)) for hearer in hearers]
        await line.expect_nothing()
        await client.close()
        for task in waiting:
            with pytest.raises(outlast.Closed):
                await task
    with pytest.raises(outlast.Closed):
        await anext(client.channel("c").ephemeral())


@scenario
async def test_one_listener_is_for_one_task(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        hearer = await listening(client, line)
        waiting = asyncio.create_task(heard_by(hearer))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(hearer)
        line.say(told("a"))
        assert await waiting == ["a"]
        with pytest.raises(ValueError, match="limit is 0"):
            client.channel("c").ephemeral(limit=0)


def test_a_batch_of_several_is_several_messages() -> None:
    batch = stamp(encode_batch("me", [("a", None, None), (b"b", "n", {"k": "v"})]), 0, TIME_MS)
    messages = read_messages(batch)
    assert [(message.data, message.name, dict(message.headers)) for message in messages] == [
        ("a", None, {}),
        (b"b", "n", {"k": "v"}),
    ]


# --- the real broker --------------------------------------------------------------------------------------


def test_people_see_each_other_type() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="alice") as alice, connect(url, client_id="bob") as bob:
            heres, there = alice.channel("room"), bob.channel("room")
            async with there.ephemeral() as typing, there.subscribe() as records, heres.ephemeral() as own:
                assert heres.send_ephemeral({"typing": True})
                assert [(m.client_id, m.data) for m in [await anext(typing)]] == [("alice", {"typing": True})]
                assert await heard_by(own) == [{"typing": True}]
                await heres.publish("Hello")
                assert [record.offset for record in await take(records, 1)] == [1]
            assert [record.data async for record in there.history()] == ["Hello"]

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


def test_listening_goes_on_after_a_cut() -> None:
    async def story(url: str) -> None:
        path = url.removeprefix("outlast+unix://")
        async with (
            Proxy(f"{path}-proxy", path) as proxy,
            connect(proxy.url) as there,
            connect(url) as here,
            there.channel("room").ephemeral() as typing,
        ):
            assert here.channel("room").send_ephemeral(1)
            assert await heard_by(typing) == [1]
            proxy.cut_all()
            waiting = asyncio.create_task(anext(typing))
            while not waiting.done():
                assert here.channel("room").send_ephemeral(2)
                await here.channel("room").info()
            assert (await waiting).data == 2

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")
