"""Connecting and closing, and the list of channels."""

from __future__ import annotations

import asyncio
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Connections, Error, List, Reply, Status

from .fake_broker import EPOCH, FakeBroker, scenario


def row(name: str) -> dict[str, Any]:
    return {"channel": name, "epoch": EPOCH, "first": 1, "last": 2, "bytes": 3, "last_ms": 4}


@scenario
async def test_no_broker_says_address_reason_and_what_to_do(broker: FakeBroker) -> None:
    await broker.stop()
    client = broker.connect(timeout=0.03)
    with pytest.raises(outlast.ConnectFailed) as caught:
        await client.__aenter__()
    text = str(caught.value)
    assert broker.url in text and "within 0.03 s" in text and "outlast serve" in text
    assert "No such file" in text or "refused" in text
    assert client.state == "closed"


@scenario
async def test_the_first_connect_is_tried_again(broker: FakeBroker) -> None:
    entering = asyncio.create_task(broker.connect().__aenter__())
    for _ in range(3):
        line = await broker.accepted()
        line.cut()
    await broker.greeted()
    client = await entering
    await client.close()


@scenario
async def test_a_final_refusal_is_said_at_once(broker: FakeBroker) -> None:
    states: list[str] = []
    client = broker.connect(timeout=None, on_state=lambda state, reason: states.append(state))
    entering = asyncio.create_task(client.__aenter__())
    line = await broker.accepted()
    line.say_early(Error(0, ErrorCode.UNSUPPORTED_VERSION, "version 1 is not spoken here"))
    with pytest.raises(outlast.ConnectFailed, match="version 1 is not spoken here") as caught:
        await entering
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, outlast.OutlastError)
    assert states == ["connecting", "closed"], "it does not wait to try again"


@scenario
async def test_a_peer_that_does_not_speak_the_protocol(broker: FakeBroker) -> None:
    entering = asyncio.create_task(broker.connect(timeout=0.05).__aenter__())
    line = await broker.accepted()
    line.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(outlast.ConnectFailed, match="no Outlast broker"):
        await entering


@scenario
async def test_cancelled_while_connecting_leaves_nothing_behind(broker: FakeBroker) -> None:
    client = broker.connect()
    entering = asyncio.create_task(client.__aenter__())
    line = await broker.accepted()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await line.ended.wait()
    assert client.state == "closed"


@scenario
async def test_before_entering_and_after_leaving(broker: FakeBroker) -> None:
    unopened = broker.connect()
    assert unopened.state == "connecting"
    with pytest.raises(outlast.Closed, match="async with outlast.connect"):
        unopened.channel("c")
    await unopened.close()
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        await client.close()
        await client.close()
        for call in (channel.publish("a"), channel.info(), anext(channel.subscribe()), channel.publish_many(["a"])):
            with pytest.raises(outlast.Closed):
                await call
        with pytest.raises(RuntimeError, match="entered once"):
            await client.__aenter__()


@scenario
async def test_requests_that_wait_are_told_when_the_client_closes(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(outlast.Closed):
            await asking


@scenario
async def test_channels_in_pages(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):

        async def names() -> list[str]:
            return [summary.name async for summary in client.channels(prefix="s:")]

        listing = asyncio.create_task(names())
        request = await line.expect(List, prefix="s:", after=None)
        line.say(Reply(request.request, {"channels": [row("s:1"), row("s:2")], "more": True}))
        request = await line.expect(List, prefix="s:", after="s:2")
        line.cut()
        line = await broker.greeted()
        request = await line.expect(List, prefix="s:", after="s:2")
        line.say(Reply(request.request, {"channels": [row("s:3")], "more": False}))
        assert await listing == ["s:1", "s:2", "s:3"]


@scenario
async def test_status_is_what_the_broker_says(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.status())
        request = await line.expect(Status)
        line.cut()
        line = await broker.greeted()
        request = await line.expect(Status)
        line.say(Reply(request.request, {"commits": 3, "later": "key"}))
        assert await asking == {"commits": 3, "later": "key"}


@scenario
async def test_connections_in_pages(broker: FakeBroker) -> None:
    def there(number: int) -> dict[str, Any]:
        counts = dict.fromkeys(("since_ms", "channels", "subscriptions", "behind", "waiting_bytes"), number)
        return {"id": number, "client_id": "c", "agent": "a/1", "door": "tcp", "address": "127.0.0.1:1"} | counts

    async with broker.joined() as (client, line):

        async def ids() -> list[int]:
            return [row.id async for row in client.connections()]

        listing = asyncio.create_task(ids())
        request = await line.expect(Connections, after=0)
        line.say(Reply(request.request, {"connections": [there(3), there(7)], "more": True}))
        request = await line.expect(Connections, after=7)
        line.say(Reply(request.request, {"connections": [there(9) | {"later": "key"}], "more": False}))
        assert await listing == [3, 7, 9]
    with pytest.raises(outlast.Closed):
        await anext(broker.connect().connections())


@scenario
async def test_environment_and_default(broker: FakeBroker) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTLAST_URL", broker.url)
        client = outlast.connect()
    entering = asyncio.create_task(client.__aenter__())
    hello = await (await broker.accepted()).greet()
    assert await entering is client
    assert (hello.client_id, client.client_id) == (None, "agent"), "the broker chooses"
    await client.close()
