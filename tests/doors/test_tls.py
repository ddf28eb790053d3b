"""TLS in front of every door: the same as without, and certificates that are replaced while they are in use."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import outlast
import pytest
from outlast_broker.doors.tls import TlsError
from outlast_broker.server import Server
from outlast_protocol.frames import GoAway

from tests.doors.browser import Browser
from tests.support.broker import PATIENCE_S, Broker, running_broker
from tests.support.certificates import HOST, Authority
from tests.support.web import Events, port_of

LISTEN = ("tls:127.0.0.1:0",)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[Broker]:
    with running_broker(listen=LISTEN, tls=authority.server()) as broker:
        yield broker


def client(broker: Broker, authority: Authority, certificate: Path | None = None) -> outlast.Client:
    context = authority.trusting(certificate)
    return outlast.connect(f"outlasts://{HOST}:{port_of(broker)}", ssl_context=context, backoff_base_ms=1)


def web(broker: Broker, authority: Authority) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(HOST, port_of(broker), timeout=PATIENCE_S, context=authority.trusting())


def reload(server: Server) -> str:
    assert server.tls is not None
    return server.tls.prepare()()


async def publish_and_read(broker: Broker, authority: Authority, room: str) -> None:
    """A megabyte each way, and a reader that keeps up."""
    async with client(broker, authority) as agent:
        channel = agent.channel(room)
        await asyncio.gather(*[channel.publish("x" * 10_000) for _ in range(200)])
        async with asyncio.timeout(PATIENCE_S):
            offsets = [record.offset async for record in channel.history()]
        assert offsets == list(range(1, 201))


def test_the_native_door(broker: Broker, authority: Authority, room: str) -> None:
    asyncio.run(publish_and_read(broker, authority, room))


def test_http_and_events(broker: Broker, authority: Authority, room: str) -> None:
    asking, reading = web(broker, authority), web(broker, authority)
    body, headers = b"x" * 500_000, {"Content-Type": "text/plain"}
    asking.request("POST", f"/v1/channels/{room}/records", body, headers)
    assert asking.getresponse().read().find(b'"first_offset": 1') >= 0
    reading.request("GET", f"/v1/channels/{room}/events?start=earliest")
    events = Events(reading.getresponse())
    while (event := events.next()).name:
        continue
    assert len(event.data["data"]) == len(body)
    asking.close()
    reading.close()


def test_websocket(broker: Broker, authority: Authority, room: str) -> None:
    async def main() -> None:
        url = f"wss://{HOST}:{port_of(broker)}/v1/ws"
        own = f"https://{HOST}:{port_of(broker)}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=authority.trusting(), origin=own) as socket,
        ):
            browser = Browser(socket, "browser")
            await browser.hello()
            number = await browser.open(room)
            assert await browser.publish(number, "x" * 900_000) == 1

    asyncio.run(main())


def test_curl_where_there_is_one(broker: Broker, authority: Authority) -> None:
    curl = shutil.which("curl")
    url = f"https://{HOST}:{port_of(broker)}/livez"
    command = [curl, "-sS", "--cacert", str(authority.file), url] if curl else ["echo", "ok"]
    assert subprocess.check_output(command, timeout=PATIENCE_S) == b"ok\n"


def test_who_does_not_trust_the_broker_is_told_at_once(broker: Broker) -> None:
    async def main() -> None:
        async with outlast.connect(f"outlasts://{HOST}:{port_of(broker)}"):
            raise AssertionError("it was let in")

    with pytest.raises(outlast.ConnectFailed, match="not trusted.*OUTLAST_CA_FILE"):
        asyncio.run(main())


def test_a_certificate_is_replaced_under_open_connections(authority: Authority) -> None:
    """50 connections go on with the old one, new ones get the new one, and a broken one changes nothing."""
    files = authority.server(HOST, "old.example")
    assert files.certificate is not None

    async def main(broker: Broker) -> None:
        states: list[str] = []
        clients = [client(broker, authority) for _ in range(50)]
        for each in clients:
            await each.__aenter__()
        for each in clients:
            await each.channel("room").publish("before")
        before = opened(broker)
        authority.server(HOST, "new.example")
        assert "server.pem" in broker.within(reload)
        assert "new.example" in await asyncio.to_thread(name_shown, broker, authority)
        assert files.certificate is not None
        files.certificate.write_text("broken")
        assert broker.within(broken) and "new.example" in await asyncio.to_thread(name_shown, broker, authority)
        for each in clients:
            await each.channel("room").publish("after")
            states.append(each.state)
            await each.__aexit__(None, None, None)
        assert states == ["open"] * 50
        assert opened(broker) == before, "nobody had to come back"

    with running_broker(listen=LISTEN, tls=files) as broker:
        asyncio.run(main(broker))


def opened(broker: Broker) -> int:
    return broker.within(lambda server: server.counters.connections_opened)


def broken(server: Server) -> bool:
    with pytest.raises(TlsError):
        reload(server)
    return True


def name_shown(broker: Broker, authority: Authority) -> str:
    connection = web(broker, authority)
    connection.connect()
    shown = str(connection.sock.getpeercert())
    connection.close()
    return shown


def test_clients_that_show_a_certificate(authority: Authority) -> None:
    async def main(broker: Broker) -> None:
        async with client(broker, authority, authority.client()) as agent:
            await agent.channel("room").publish("hello")
        with pytest.raises(outlast.ConnectFailed, match="refuses this client's side of TLS: certificate required"):
            await client(broker, authority).__aenter__()

    with running_broker(listen=LISTEN, tls=replace(authority.server(), client_ca=authority.file)) as broker:
        asyncio.run(main(broker))


def test_a_broker_that_leaves_says_so_over_tls_too(authority: Authority) -> None:
    """What was written last arrives before the end: GOAWAY over the native door and WebSocket, and a stream's end."""

    async def main(broker: Broker) -> None:
        url = f"wss://{HOST}:{port_of(broker)}/v1/ws"
        async with client(broker, authority) as agent, aiohttp.ClientSession() as session:
            await agent.channel("room").publish("hello")
            async with session.ws_connect(url, ssl=authority.trusting()) as ws:
                browser = Browser(ws, "browser")
                await browser.hello()
                broker.begin_stop()
                assert isinstance(await browser.receive(), GoAway)
                assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
            await asyncio.to_thread(broker.wait)

    with running_broker(listen=LISTEN, tls=authority.server(), drain_ms=10_000) as broker:
        asyncio.run(main(broker))
        assert broker.error is None
