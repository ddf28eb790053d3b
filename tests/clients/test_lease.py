"""Leases: what is asked and asked again, what goes out under them, and what the real broker makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Lease, Leases, Publish, Published, Release, Renew, Reply
from outlast_protocol.operations import Op

from tests.support.broker import running_broker

from .fake_broker import NEXT_EPOCH, NUMBER, FakeBroker, Line, datas_of, scenario
from .test_against_broker import connect, tell

TOKEN = 41


async def grant(line: Line, token: int = TOKEN, holder: str = "", **asked: Any) -> Lease:
    """Expects one LEASE and grants it."""
    lease = await line.expect(Lease, number=NUMBER, lease="writer", **asked)
    line.say(Reply(lease.request, {"token": token, "ttl_ms": lease.ttl_ms, "holder": holder}))
    return lease


async def done(line: Line, kind: type[Renew] | type[Release], **result: int) -> None:
    request = await line.expect(kind, number=NUMBER, token=TOKEN)
    line.say(Reply(request.request, result))


@asynccontextmanager
async def holding(client: outlast.Client, line: Line, **how: Any) -> AsyncIterator[outlast.Lease]:
    """A lease of channel "c". At the end it is left as it is, with the client."""
    taking = asyncio.create_task(client.channel("c").lease("writer", **how).__aenter__())
    await line.open()
    await grant(line)
    yield await taking


# --- taking and giving back -------------------------------------------------------------------------------


@scenario
async def test_taken_and_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        lease = client.channel("c").lease("writer", ttl=2.5)
        assert not lease.is_held
        with pytest.raises(RuntimeError, match="not taken yet"):
            lease.token  # noqa: B018
        taking = asyncio.create_task(lease.__aenter__())
        assert (await line.open()).create
        assert (await grant(line, ttl_ms=2_500, take_over=False, holder="before")).nonce
        assert await taking is lease
        assert (lease.token, lease.taken_from, lease.is_held, lease.ttl) == (TOKEN, "before", True, 2.5)
        leaving = asyncio.create_task(lease.__aexit__(None, None, None))
        await done(line, Release)
        await leaving
        assert not lease.is_held and not lease.lost.is_set()
        with pytest.raises(outlast.Fenced, match="was released .make another one"):
            await lease.publish("x")
        with pytest.raises(RuntimeError, match="taken once"):
            await lease.acquire()


@scenario
async def test_one_that_is_held_is_refused_at_once(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        taking = asyncio.create_task(client.channel("c").lease("writer").acquire())
        await line.open()
        request = await line.expect(Lease)
        line.refuse(request.request, ErrorCode.LEASE_HELD, holder="other", retry_after_ms=700)
        with pytest.raises(outlast.LeaseHeld) as held:
            await taking
        assert (held.value.holder, held.value.retry_after) == ("other", 0.7)


@scenario
async def test_who_waits_asks_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        taking = asyncio.create_task(client.channel("c").lease("writer", wait=True).acquire())
        await line.open()
        first = await line.expect(Lease)
        line.refuse(first.request, ErrorCode.LEASE_HELD, holder="other", retry_after_ms=1)
        second = await line.expect(Lease, nonce=first.nonce)
        line.refuse(second.request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await grant(line, nonce=first.nonce)
        await taking


@scenario
async def test_time_is_up(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        taking = asyncio.create_task(client.channel("c").lease("writer", wait=True, timeout=0.05).acquire())
        await line.open()
        request = await line.expect(Lease)
        line.refuse(request.request, ErrorCode.LEASE_HELD, holder="other", retry_after_ms=60_000)
        with pytest.raises(outlast.LeaseHeld, match="because the test says so"):
            await taking
        await broker.stop()
        with pytest.raises(outlast.LeaseHeld, match="no connection"):
            await client.channel("c").lease("writer", timeout=0.01).acquire()


@scenario
async def test_what_is_granted_too_late_is_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        taking = asyncio.create_task(client.channel("c").lease("writer").acquire())
        await line.open()
        request = await line.expect(Lease)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        line.say(Reply(request.request, {"token": TOKEN, "ttl_ms": 10_000, "holder": ""}))
        await done(line, Release)


@scenario
async def test_a_lost_answer_is_asked_for_under_the_same_nonce(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        taking = asyncio.create_task(client.channel("c").lease("writer", take_over=True).acquire())
        await line.open()
        lost = await line.expect(Lease, take_over=True)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await grant(line, nonce=lost.nonce, take_over=True)
        await taking


@scenario
async def test_what_was_published_is_settled_before_it_is_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        first = lease.publish_nowait("a")
        publish = await line.expect(Publish, fence=TOKEN)
        second = lease.publish_nowait("b")
        leaving = asyncio.create_task(lease.release())
        await line.expect_nothing()
        line.say(Published([(publish.request, 1, False)]))
        await line.publish(2, fence=TOKEN)
        await done(line, Release)
        await leaving
        assert [(await each).offset for each in (first, second)] == [1, 2]


@scenario
async def test_a_release_that_was_not_answered_is_sent_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        leaving = asyncio.create_task(lease.release())
        await line.expect(Release)
        line.cut()
        line = await broker.greeted()
        await line.open()
        again = await line.expect(Release)
        line.refuse(again.request, ErrorCode.FENCED, token=TOKEN)
        await leaving
        assert not lease.lost.is_set()


# --- keeping it -------------------------------------------------------------------------------------------


@scenario
async def test_it_is_renewed_at_a_third_of_its_time(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line, ttl=1.0) as lease:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await done(line, Renew, ttl_ms=1_000)
        await done(line, Renew, ttl_ms=1_000)
        assert 0.6 < loop.time() - started < 5
        assert lease.is_held


@scenario
async def test_it_is_renewed_over_lost_connections_and_refusals_for_now(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line, ttl=1.0) as lease:
        await line.expect(Renew)
        line.cut()
        line = await broker.greeted()
        await line.open()
        request = await line.expect(Renew, token=TOKEN)
        line.refuse(request.request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await done(line, Renew, ttl_ms=1_000)
        assert lease.is_held


@scenario
async def test_a_renewal_that_is_fenced_says_that_it_is_lost(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line, ttl=1.0) as lease:
        request = await line.expect(Renew)
        line.refuse(request.request, ErrorCode.FENCED, token=TOKEN + 1)
        await lease.lost.wait()
        assert not lease.is_held
        with pytest.raises(outlast.Fenced) as fenced:
            lease.publish_nowait("x")
        assert fenced.value.token == TOKEN + 1
        await lease.release()
        await line.expect_nothing()


@scenario
async def test_a_lease_ends_with_its_channel(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line, ttl=1.0) as lease:
        request = await line.expect(Renew)
        line.refuse(request.request, ErrorCode.UNKNOWN_CHANNEL)
        opening = await line.open(number=10, epoch=NEXT_EPOCH)
        assert not opening.create
        request = await line.expect(Renew, number=10, token=TOKEN)
        line.refuse(request.request, ErrorCode.FENCED, token=0)
        await lease.lost.wait()


# --- publishing under it ----------------------------------------------------------------------------------


@scenario
async def test_every_publish_under_it_bears_its_token(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        one = asyncio.create_task(lease.publish("a", name="n", headers={"k": "v"}, if_offset=4))
        assert (await line.publish(5, fence=TOKEN, if_offset=4)).batch
        many = asyncio.create_task(lease.publish_many(["b", outlast.Message("c")]))
        assert datas_of(await line.publish(6, fence=TOKEN)) == ["b", "c"]
        free = client.channel("c").publish_nowait("d")
        await line.publish(8, fence=0)
        assert [(await each).last for each in (one, many, free)] == [5, 7, 8]


@scenario
async def test_what_is_under_it_does_not_go_with_what_is_not(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        channel = client.channel("c")
        futures = [channel.publish_nowait("a"), lease.publish_nowait("b"), lease.publish_nowait("c")]
        futures.append(channel.publish_nowait("d"))
        for fence, datas in ((0, ["a"]), (TOKEN, ["b", "c"]), (0, ["d"])):
            assert datas_of(await line.publish(1, fence=fence)) == datas
        await asyncio.gather(*futures)


@scenario
async def test_a_publish_that_is_fenced_says_that_it_is_lost(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        first = lease.publish_nowait("a")
        publish = await line.expect(Publish)
        second = lease.publish_nowait("b")
        free = client.channel("c").publish_nowait("c")
        line.refuse(publish.request, ErrorCode.FENCED, token=TOKEN + 1)
        with pytest.raises(outlast.Fenced):
            await first
        assert lease.lost.is_set()
        line.refuse((await line.expect(Publish, fence=TOKEN)).request, ErrorCode.FENCED, token=TOKEN + 1)
        with pytest.raises(outlast.Fenced):
            await second
        await line.publish(1, fence=0)
        assert (await free).offset == 1


@scenario
async def test_sent_again_after_a_cut_it_keeps_its_token(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), holding(client, line) as lease:
        waiting = lease.publish_nowait("a")
        lost = await line.expect(Publish, fence=TOKEN)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.publish(1, duplicate=True, fence=TOKEN, sequence=lost.sequence)
        assert (await waiting).duplicate


# --- arguments --------------------------------------------------------------------------------------------


@scenario
async def test_leases_that_cannot_be(broker: FakeBroker) -> None:
    async with broker.joined() as (client, _):
        channel = client.channel("c")
        for name in ("", "x" * 129, "a\n", "\ud800"):
            with pytest.raises(ValueError, match="lease's name"):
                channel.lease(name)
        with pytest.raises(TypeError, match="lease's name"):
            channel.lease(7)  # type: ignore[arg-type]
        for ttl in (0, 0.9, 3_601):
            with pytest.raises(ValueError, match="ttl"):
                channel.lease("writer", ttl=ttl)
        with pytest.raises(TypeError, match="ttl"):
            channel.lease("writer", ttl="10")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout"):
            channel.lease("writer", timeout=-1)
        assert repr(channel.lease("ä" * 64)) == f"<outlast.Lease {'ä' * 64!r} of 'c', token 0>"


@scenario
async def test_leases_are_listed(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        listing = asyncio.create_task(_listed(client.channel("c")))
        ask = await line.expect(Leases, channel="c")
        row = {"lease": "writer", "holder": "agent", "token": 5, "ttl_ms": 10_000, "left_ms": 9_000}
        line.say(Reply(ask.request, {"leases": [row]}))
        assert await listing == [outlast.LeaseInfo("writer", "agent", 5, 10_000, 9_000)]


async def _listed(channel: outlast.Channel) -> list[outlast.LeaseInfo]:
    return [lease async for lease in channel.leases()]


# --- the real broker --------------------------------------------------------------------------------------


def test_against_the_real_broker() -> None:
    with running_broker() as broker:
        tell(two_agents, f"outlast+unix://{broker.path}")


async def two_agents(url: str) -> None:
    async with connect(url, client_id="a") as one, connect(url, client_id="b") as two:
        async with one.channel("room").lease("writer", ttl=1.0) as lease:
            assert (await lease.publish("from a")).offset == 1
            with pytest.raises(outlast.LeaseHeld) as held:
                await two.channel("room").lease("writer").acquire()
            assert held.value.holder == "a" and 0 < held.value.retry_after_ms <= 1_000
            async with two.channel("room").lease("writer", take_over=True) as taken:
                assert taken.taken_from == "a" and taken.token > lease.token
                with pytest.raises(outlast.Fenced) as fenced:
                    await lease.publish("too late")
                assert fenced.value.token == taken.token and lease.lost.is_set()
                assert (await taken.publish("from b")).offset == 2
                [row] = await _listed(two.channel("room"))
                assert (row.name, row.holder, row.token) == ("writer", "b", taken.token)
        assert await _listed(two.channel("room")) == []
        waiting = asyncio.create_task(two.channel("room").lease("writer", wait=True).acquire())
        await waiting
        records = [record async for record in one.channel("room").history()]
        assert [record.data for record in records] == ["from a", "from b"]


def test_who_does_not_renew_is_seen_to_lapse() -> None:
    with running_broker() as broker:
        tell(lapse, f"outlast+unix://{broker.path}")


async def lapse(url: str) -> None:
    async with connect(url, client_id="reader") as reader:
        async with (
            connect(url, client_id="agent", close_timeout=0) as agent,
            reader.channel("room").subscribe() as live,
        ):
            lease = agent.channel("room").lease("writer", ttl=1.0)
            await lease.acquire()
            await agent.close()
            record = await anext(live)
        assert record.operation is not None and record.operation.op is Op.LAPSED
        assert (record.operation.lease, record.operation.token, record.client_id) == ("writer", lease.token, "")
