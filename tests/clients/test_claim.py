"""Claims: what is sent, what goes again, and what the real broker makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import outlast
import pytest
from outlast.claim import check_claim_key
from outlast_protocol import Encoding, ErrorCode
from outlast_protocol.frames import Abandon, Claim, Claims, Extend, Reply, Settle

from tests.support.broker import running_broker
from tests.support.proxy import Faults, Proxy

from .fake_broker import NEXT_EPOCH, NUMBER, FakeBroker, Line, scenario
from .test_against_broker import connect, tell

KEY = "charge:42"
GRANTED = {"status": "granted", "token": 5, "attempt": 1, "ttl_ms": 30_000}
HELD = {"status": "in_progress", "holder": "other", "attempt": 2, "retry_after_ms": 20}
DONE = {"status": "done", "attempt": 3, "encoding": 2, "data": b'{"id":7}', "time_ms": 1_700_000_000_000}


async def answer(line: Line, result: dict[str, Any], **fields: object) -> Claim:
    """Expects one CLAIM, and answers it so."""
    claim = await line.expect(Claim, number=NUMBER, key=KEY, **fields)
    line.say(Reply(claim.request, result))
    return claim


async def accept(line: Line, kind: type[Settle] | type[Extend] | type[Abandon], **fields: object) -> Any:
    """Expects one request under the token, and says that it is done."""
    frame = await line.expect(kind, number=NUMBER, key=KEY, token=5, **fields)
    line.say(Reply(frame.request, {}))
    return frame


def entering(client: outlast.Client, **options: Any) -> asyncio.Task[outlast.Claim]:
    return asyncio.create_task(client.channel("c").claim(KEY, **options).__aenter__())


@asynccontextmanager
async def granted(client: outlast.Client, line: Line, **options: Any) -> AsyncIterator[outlast.Claim]:
    task = entering(client, **options)
    await line.open()
    await answer(line, GRANTED)
    claim = await task
    yield claim
    if not claim.done and not claim.lost:
        leaving = asyncio.create_task(claim.__aexit__(None, None, None))
        await accept(line, Abandon)
        await leaving


@scenario
async def test_granted_and_settled(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client, ttl=2.5)
        opened = await line.open()
        assert opened.create
        asked = await answer(line, GRANTED, ttl_ms=2_500)
        assert asked.nonce
        claim = await task
        assert (claim.granted, claim.done, claim.attempt, claim.result) == (True, False, 1, None)
        settling = asyncio.create_task(claim.settle({"ids": (7, 8)}))
        await accept(line, Settle, encoding=Encoding.JSON, data=b'{"ids":[7,8]}')
        await settling
        assert (claim.granted, claim.done, claim.result) == (True, True, {"ids": [7, 8]})
        await claim.__aexit__(None, None, None)
        await line.expect_nothing()


@scenario
async def test_done_by_another(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        await answer(line, DONE)
        claim = await task
        assert (claim.granted, claim.done, claim.attempt, claim.result) == (False, True, 3, {"id": 7})
        with pytest.raises(RuntimeError, match="settled"):
            await claim.settle("again")
        await claim.__aexit__(None, None, None)
        await line.expect_nothing()


@scenario
async def test_held_by_another(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        await answer(line, HELD)
        with pytest.raises(outlast.ClaimHeld, match="other") as raised:
            await task
        held = raised.value
        assert (held.holder, held.attempt, held.retry_after, held.retryable) == ("other", 2, 0.02, True)


@scenario
async def test_waiting_asks_again_until_it_is_free_or_done(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client, wait=True)
        await line.open()
        nonces = {(await answer(line, result)).nonce for result in (HELD, HELD, DONE)}
        assert len(nonces) == 1
        assert (await task).done


@scenario
async def test_waiting_ends_when_the_time_is_up(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client, timeout=0.05)
        await line.open()
        await answer(line, HELD | {"retry_after_ms": 60_000})
        with pytest.raises(outlast.ClaimHeld):
            await task
        task = entering(client, timeout=0.05)
        claim = await line.expect(Claim)
        with pytest.raises(outlast.ConnectionLost, match="how claim"):
            await task
        line.say(Reply(claim.request, HELD))
        await line.expect_nothing()


@scenario
async def test_a_broker_that_takes_no_changes_is_waited_for(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client, wait=True)
        await line.open()
        line.refuse((await line.expect(Claim)).request, ErrorCode.READ_ONLY, retry_after_ms=1)
        await answer(line, DONE)
        assert (await task).done
        task = entering(client)
        line.refuse((await line.expect(Claim)).request, ErrorCode.READ_ONLY, retry_after_ms=1)
        with pytest.raises(outlast.ReadOnly):
            await task


@scenario
async def test_other_refusals_are_raised(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client, wait=True)
        await line.open()
        line.refuse((await line.expect(Claim)).request, ErrorCode.LIMIT_EXCEEDED, limit="claims", value=10_000)
        with pytest.raises(outlast.LimitExceeded):
            await task


# --- over connections -------------------------------------------------------------------------------------


@scenario
async def test_what_was_not_answered_is_asked_again_under_its_nonce_and_token(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        first = await line.expect(Claim)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answer(line, GRANTED, nonce=first.nonce)
        claim = await task
        settling = asyncio.create_task(claim.settle(b"paid"))
        await line.expect(Settle)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await accept(line, Settle, data=b"paid")
        await settling


@scenario
async def test_two_claims_of_one_client_have_two_nonces(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        tasks = [entering(client), entering(client)]
        await line.open()
        await line.open()
        nonces = {(await answer(line, DONE)).nonce for _ in tasks}
        assert len(nonces) == 2
        await asyncio.gather(*tasks)


@scenario
async def test_a_channel_that_went_is_opened_anew_for_a_claim(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        line.refuse((await line.expect(Claim)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(epoch=NEXT_EPOCH)
        await answer(line, DONE)
        assert (await task).done


@scenario
async def test_it_is_extended_while_the_block_runs(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), granted(client, line, ttl=1) as claim:
        await accept(line, Extend)
        await line.expect(Extend)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await accept(line, Extend)
        settling = asyncio.create_task(claim.settle())
        await accept(line, Settle, encoding=Encoding.JSON, data=b"null")
        await settling
        assert claim.done and claim.result is None


@scenario
async def test_fenced_it_is_lost(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), granted(client, line, ttl=1) as claim:
        extend = await line.expect(Extend)
        assert not claim.lost
        line.refuse(extend.request, ErrorCode.FENCED, token=6)
        await line.expect_nothing()
        assert claim.lost
        settling = asyncio.create_task(claim.settle("paid"))
        line.refuse((await line.expect(Settle)).request, ErrorCode.FENCED, token=6)
        with pytest.raises(outlast.Fenced) as raised:
            await settling
        assert raised.value.token == 6 and not claim.done
        await claim.__aexit__(None, None, None)
        await line.expect_nothing()


@scenario
async def test_of_a_deleted_channel_it_is_lost(broker: FakeBroker) -> None:
    """Its token may be somebody else's in the next life."""
    async with broker.joined() as (client, line), granted(client, line) as claim:
        settling = asyncio.create_task(claim.settle("paid"))
        line.refuse((await line.expect(Settle)).request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(epoch=NEXT_EPOCH)
        with pytest.raises(outlast.UnknownChannel, match="deleted"):
            await settling
        assert claim.lost
        await line.expect_nothing()


# --- leaving the block ------------------------------------------------------------------------------------


@scenario
async def test_left_without_settling_it_is_abandoned(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        for error in (None, ZeroDivisionError):
            task = asyncio.create_task(_left_by(client, error))
            if error is None:
                await line.open()
            await answer(line, GRANTED)
            await accept(line, Abandon)
            if error is None:
                await task
            else:
                with pytest.raises(error):
                    await task


async def _left_by(client: outlast.Client, error: type[Exception] | None) -> None:
    async with client.channel("c").claim(KEY) as claim:
        assert claim.granted
        if error is not None:
            raise error


@scenario
async def test_what_cannot_be_abandoned_lapses(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        async with granted(client, line) as claim:
            leaving = asyncio.create_task(claim.__aexit__(None, None, None))
            line.refuse((await line.expect(Abandon)).request, ErrorCode.FENCED, token=0)
            await leaving
            assert claim.lost
        task = entering(client)
        await answer(line, GRANTED)
        claim = await task
        await client.close()
        await claim.__aexit__(None, None, None)


@scenario
async def test_a_claim_that_is_being_settled_is_not_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        await answer(line, GRANTED)
        claim = await task
        settling = asyncio.create_task(claim.settle("paid"))
        await line.expect(Settle)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        await claim.__aexit__(None, None, None)
        await line.expect_nothing()


@scenario
async def test_a_grant_that_nobody_waits_for_any_more_is_given_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        task = entering(client)
        await line.open()
        claim = await line.expect(Claim)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        line.say(Reply(claim.request, GRANTED))
        await accept(line, Abandon)


@scenario
async def test_a_claim_is_entered_once(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), granted(client, line) as claim:
        with pytest.raises(RuntimeError, match="once"):
            await claim.__aenter__()


# --- arguments --------------------------------------------------------------------------------------------


@scenario
async def test_results_that_cannot_be_stored_are_refused_here(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), granted(client, line) as claim:
        with pytest.raises(TypeError, match="result"):
            await claim.settle({1, 2})  # type: ignore[arg-type]
        for wrong in ("\ud800", float("nan")):
            with pytest.raises(ValueError, match="result"):
                await claim.settle(wrong)
        with pytest.raises(outlast.TooLarge) as raised:
            await claim.settle(bytes(32_769))
        assert raised.value.detail == {"limit": "claim_result_bytes", "value": 32_768}
        await line.expect_nothing()


@scenario
async def test_arguments_that_cannot_be_right(broker: FakeBroker) -> None:
    async with broker.joined() as (client, _):
        channel = client.channel("c")
        for wrong in ({"ttl": 0.5}, {"ttl": 3_601}, {"timeout": 0}, {"timeout": -1}):
            with pytest.raises(ValueError, match="expected"):
                channel.claim(KEY, **wrong)


@pytest.mark.parametrize(
    ("key", "error"),
    [("", ValueError), ("x" * 256, ValueError), ("a\n", ValueError), ("\ud800", ValueError), (7, TypeError)],
)
def test_keys(key: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="claim"):
        check_claim_key(key)
    assert check_claim_key("ä" * 127) == "ä" * 127


# --- once, and lists --------------------------------------------------------------------------------------


@scenario
async def test_once_calls_what_was_not_done(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        calls: list[str] = []

        async def charge() -> outlast.Data:
            calls.append("asynchronous")
            return {"ids": (7,)}

        running = asyncio.create_task(channel.once(KEY, charge))
        await line.open()
        await answer(line, GRANTED)
        await accept(line, Settle, data=b'{"ids":[7]}')
        assert await running == {"ids": [7]}
        running = asyncio.create_task(channel.once(KEY, lambda: calls.append("plain")))
        await answer(line, HELD)
        await answer(line, GRANTED)
        await accept(line, Settle, data=b"null")
        assert await running is None
        running = asyncio.create_task(channel.once(KEY, charge))
        await answer(line, DONE)
        assert await running == {"id": 7}
        assert calls == ["asynchronous", "plain"]


@scenario
async def test_claims_come_in_pages(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        listing = asyncio.create_task(_listed(client.channel("c")))
        ask = await line.expect(Claims, channel="c", after=None)
        line.say(Reply(ask.request, {"claims": [_row("a", "done")], "more": True}))
        ask = await line.expect(Claims, after="a")
        line.say(Reply(ask.request, {"claims": [_row("b", "free")], "more": False}))
        since = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert await listing == [
            outlast.ClaimSummary("a", "done", "agent", 2, since),
            outlast.ClaimSummary("b", "free", "agent", 2, since),
        ]


def _row(key: str, status: str) -> dict[str, Any]:
    return {"key": key, "status": status, "holder": "agent", "attempt": 2, "time_ms": 1_700_000_000_000}


async def _listed(channel: outlast.Channel) -> list[outlast.ClaimSummary]:
    return [claim async for claim in channel.claims()]


# --- the real broker --------------------------------------------------------------------------------------


def test_against_the_real_broker() -> None:
    with running_broker() as broker:
        tell(charge_once, f"outlast+unix://{broker.path}")


async def charge_once(url: str) -> None:
    async with connect(url, client_id="one") as one, connect(url, client_id="two") as two:
        first, second = one.channel("room"), two.channel("room")
        async with first.claim(KEY) as claim:
            assert claim.granted and claim.attempt == 1
            for other in (first, second):
                with pytest.raises(outlast.ClaimHeld) as raised:
                    await other.claim(KEY).__aenter__()
                assert raised.value.holder == "one" and 0 < raised.value.retry_after <= 30
            waiting = asyncio.create_task(second.once(KEY, lambda: "charged twice"))
            await claim.settle({"id": 7})
            assert await waiting == {"id": 7}
        with pytest.raises(ZeroDivisionError):
            await first.once("other", lambda: 1 / 0)
        async with second.claim("other") as claim:
            assert claim.granted and claim.attempt == 2
            assert [(row.key, row.status, row.holder, row.attempt) for row in await _listed(first)] == [
                (KEY, "done", "one", 1),
                ("other", "in_progress", "two", 2),
            ]


def test_through_a_network_that_cuts() -> None:
    with running_broker() as broker:
        tell(lambda path: charge_through_cuts(path, broker.path), broker.path + "p")


async def charge_through_cuts(path: str, target: str) -> None:
    """Each connection ends after so many bytes of answers, wherever in a claim's life that is."""
    charged: list[int] = []
    async with Proxy(path, target) as proxy:
        async with connect(proxy.url):
            welcome_bytes = proxy.down_bytes
        proxy.plan = lambda index: Faults(down_bytes=welcome_bytes + 40 + index * 29 % 199)
        async with connect(proxy.url) as client:
            for index in range(40):
                result = await client.channel("room").once(f"{index}", lambda: charged.append(1) or len(charged))
                assert result == index + 1
        assert proxy.connections > 10
    async with connect(f"outlast+unix://{target}") as client:
        assert {(row.status, row.attempt) for row in await _listed(client.channel("room"))} == {("done", 1)}
