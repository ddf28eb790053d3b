"""What a channel's methods accept, and the requests about the channel itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Configure, Delete, Info, Reply, Truncate

from .fake_broker import EPOCH, NEXT_EPOCH, FakeBroker, play, scenario
from .test_link import INFO

Call = Callable[[outlast.Channel], Any]


@scenario
async def test_info(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        line.say(Reply((await line.expect(Info, channel="c")).request, INFO))
        info = await asking
        assert (info.name, info.first, info.last, info.subscribers) == ("c", 1, 3, 0)


@scenario
async def test_truncate(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").truncate(before=f"{EPOCH:016x}:5"))
        line.say(Reply((await line.expect(Truncate, channel="c", before=5)).request, {"first": 5}))
        assert await asking == 5
        asking = asyncio.create_task(client.channel("c").truncate(before=99))
        line.refuse((await line.expect(Truncate)).request, ErrorCode.OFFSET_AHEAD, last=9)
        with pytest.raises(outlast.OffsetAhead):
            await asking


@scenario
async def test_configure(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        in_force = {"age_ms": 1, "records": 2, "bytes": 0, "idle_ttl_ms": 0}
        channel = client.channel("c")
        for given in ({"records": 2, "age_ms": None}, outlast.Retention(records=2)):
            asking = asyncio.create_task(channel.configure(retention=given))
            request = await line.expect(Configure, channel="c")
            assert request.retention == (given if isinstance(given, dict) else given._asdict())
            line.say(Reply(request.request, {"retention": in_force}))
            assert await asking == outlast.Retention(1, 2, 0, 0)


@scenario
async def test_delete_and_publish_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        first = channel.publish_nowait("a")
        await line.open()
        await line.publish(1)
        await first
        asking = asyncio.create_task(channel.delete())
        line.say(Reply((await line.expect(Delete, channel="c")).request, {"epoch": EPOCH}))
        await asking
        second = channel.publish_nowait("b")
        await line.open(number=10, epoch=NEXT_EPOCH)
        await line.publish(1, number=10, sequence=2)
        assert (await second).epoch == NEXT_EPOCH


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda c: c.publish_nowait(object()), TypeError, "allowed are bytes, str"),
        (lambda c: c.publish_nowait("x", name=5), TypeError, "name is int"),
        (lambda c: c.publish_nowait("x", headers={"a": 1}), TypeError, "text to text"),
        (lambda c: c.publish_nowait("x", if_offset=-1), ValueError, "if_offset is -1"),
        (lambda c: c.publish_nowait("x", if_offset="1"), TypeError, "if_offset is str"),
        (lambda c: asyncio.create_task(c.publish_many([])), ValueError, "at least one message"),
        (lambda c: asyncio.create_task(c.publish_many("abc")), TypeError, "put it into a list"),
        (lambda c: asyncio.create_task(c.publish_many(b"abc")), TypeError, "put it into a list"),
        (lambda c: asyncio.create_task(c.publish_many({"a": 1})), TypeError, "put it into a list"),
        (lambda c: c.subscribe(after=1, last=2), ValueError, "after and last were given together"),
        (lambda c: c.subscribe(after="nonsense"), ValueError, "expected EPOCH:OFFSET"),
        (lambda c: c.subscribe(window_bytes=0), ValueError, "window_bytes is 0, expected 1 to 2147483647"),
        (lambda c: c.history(backwards=True, after=1), ValueError, "leave out after, start, last, since"),
        (lambda c: c.history(limit=-1), ValueError, "limit is -1"),
        (lambda c: c.history(before="5"), ValueError, "expected EPOCH:OFFSET"),
        (lambda c: asyncio.create_task(c.truncate(before=-1)), ValueError, "before is -1"),
        (lambda c: asyncio.create_task(c.configure(retention={"size": 1})), ValueError, "allowed are age_ms, records"),
        (lambda c: asyncio.create_task(c.configure(retention={"bytes": -1})), ValueError, "bytes is -1"),
    ],
    ids=range(18),
)
def test_bad_arguments_cost_no_bytes(call: Call, error: type[Exception], says: str) -> None:
    async def refuse(broker: FakeBroker) -> None:
        async with broker.joined() as (client, line):
            with pytest.raises(error, match=says):
                await call(client.channel("c"))
            await line.expect_nothing()

    play(refuse)


@scenario
async def test_names(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("session:42")
        assert channel is client.channel("session:42")
        assert repr(channel) == "<outlast.Channel 'session:42'>"
        for name in ("", "a\nb", "x" * 256):
            with pytest.raises(ValueError, match="the channel's name"):
                client.channel(name)
        await line.expect_nothing()
