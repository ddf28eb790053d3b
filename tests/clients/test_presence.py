"""The verbs of `channel.presence`, by themselves and against the real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import outlast
import pytest
from outlast_protocol import Data, ErrorCode
from outlast_protocol.frames import Members, Reply

from tests.support.broker import running_broker

from .fake_broker import LOOPS, FakeBroker, scenario
from .test_against_broker import connect, tell
from .test_members import row


@scenario
async def test_members_come_in_pages(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        listing = asyncio.create_task(client.channel("c").presence.members())
        ask = await line.expect(Members, channel="c", after_client=None, after_member=None)
        line.say(Reply(ask.request, {"members": [row("a"), row("b")], "more": True, "present": 3, "away": 0}))
        ask = await line.expect(Members, after_client="b", after_member=1)
        line.say(Reply(ask.request, {"members": [row("c", 1)], "more": False, "present": 3, "away": 0}))
        assert [(member.client_id, member.status) for member in await listing] == [
            ("a", "present"),
            ("b", "present"),
            ("c", "away"),
        ]


@scenario
async def test_occupied_asks_for_counts_and_asks_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        presence = client.channel("c").presence
        for answer, expected in (({"present": 0, "away": 1}, True), ({"present": 0, "away": 0}, False)):
            asking = asyncio.create_task(presence.occupied())
            await line.expect(Members, limit=1)
            line.cut()
            line = await broker.greeted()
            ask = await line.expect(Members, limit=1)
            line.say(Reply(ask.request, {"members": [], "more": False} | answer))
            assert await asking is expected
        asking = asyncio.create_task(presence.occupied())
        line.refuse((await line.expect(Members)).request, ErrorCode.UNKNOWN_CHANNEL)
        assert await asking is False


@scenario
async def test_what_cannot_be_is_said_at_once(broker: FakeBroker) -> None:
    async with broker.joined() as (client, _):
        enter: Callable[..., Any] = client.channel("c").presence.enter
        for grace in (-1, 60.1, float("nan")):
            with pytest.raises(ValueError, match="grace"):
                enter(grace=grace)
        with pytest.raises(TypeError, match="grace"):
            enter(grace="10")
        with pytest.raises(ValueError, match="1024 bytes"):
            enter("x" * 1_025)
        with pytest.raises(TypeError):
            enter(object())
        with pytest.raises(outlast.Closed):
            await enter().update("x")
        assert repr(client.channel("c").presence) == "<outlast.Presence in 'c'>"


# --- the real broker --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_against_the_real_broker(loop: str) -> None:
    with running_broker() as broker:
        tell(come_and_go, f"outlast+unix://{broker.path}", loop)


async def come_and_go(url: str) -> None:
    async with connect(url, client_id="agent") as agent, connect(url, client_id="phone") as phone:
        presence = agent.channel("room").presence
        assert not await presence.occupied()
        waiting = asyncio.create_task(presence.until_occupied())
        async with presence.watch() as watch:
            assert await anext(watch) == outlast.PresenceSnapshot(0, 0, ())
            async with phone.channel("room").presence.enter({"tab": 1}) as me:
                await waiting
                assert await presence.occupied()
                came = await anext(watch)
                assert isinstance(came, outlast.MemberChanged)
                assert came.member[:4] == ("phone", me.member_id, "present", {"tab": 1})
                assert await anext(watch) == outlast.Occupied(1, 0)
                assert await presence.members() == [came.member]
                await me.update("typing")
                changed = await anext(watch)
                assert isinstance(changed, outlast.MemberChanged) and changed.member.data == "typing"
                with pytest.raises(RuntimeError, match="once"):
                    await me.__aenter__()
            left = await anext(watch)
            assert isinstance(left, outlast.MemberChanged)
            assert (left.member.status, left.member.reason) == ("left", "left")
            assert await anext(watch) == outlast.Vacated(0, 0)
        with pytest.raises(TimeoutError):
            await presence.until_occupied(timeout=0.01)
        with pytest.raises(outlast.UnknownChannel):
            await agent.channel("nowhere").presence.members()


def test_a_client_may_be_there_twice_and_is_gone_with_its_client() -> None:
    with running_broker() as broker:
        tell(two_tabs, f"outlast+unix://{broker.path}")


async def two_tabs(url: str) -> None:
    async with connect(url) as agent:
        presence = agent.channel("room").presence
        phone = await connect(url, client_id="phone").__aenter__()
        tabs = [phone.channel("room").presence.enter(name) for name in ("left", "right")]
        for tab in tabs:
            await tab.__aenter__()
        assert {member.data for member in await presence.members()} == {"left", "right"}
        await tabs[0].leave()
        assert [member.member_id for member in await presence.members()] == [tabs[1].member_id]
        async with presence.watch(members=False) as watch:
            assert (await anext(watch)).present == 1
            await phone.close()
            # It has said that it leaves: nobody waits for its time of grace.
            async for event in watch:
                if not event.occupied:
                    break
        assert await presence.members() == []


def test_a_deleted_channel_that_comes_back_has_its_members_again() -> None:
    with running_broker() as broker:
        tell(delete_and_come_back, f"outlast+unix://{broker.path}")


async def delete_and_come_back(url: str) -> None:
    async with connect(url, client_id="agent") as agent, connect(url, client_id="phone") as phone:
        channel = agent.channel("room")
        data: list[Data] = []
        async with phone.channel("room").presence.enter("here"), channel.presence.watch() as watch:
            assert (await anext(watch)).occupied
            await anext(watch)
            await channel.delete()
            left = await anext(watch)
            assert isinstance(left, outlast.MemberChanged) and left.member.reason == "deleted"
            assert await anext(watch) == outlast.Vacated(0, 0)
            await channel.publish("next life")
            async for event in watch:
                if isinstance(event, outlast.PresenceSnapshot):
                    data += [member.data for member in event.members]
                elif isinstance(event, outlast.MemberChanged):
                    data.append(event.member.data)
                elif isinstance(event, outlast.Occupied):
                    break
        assert data == ["here"]
