"""The native protocol over WebSocket, with a client that is not ours."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from outlast_protocol.frames import Error, GoAway, Ping, Pong
from outlast_protocol.limits import FRAME_BYTES_MAX

from tests.doors.browser import Internet, internet
from tests.support.broker import PATIENCE_S, Broker, running_broker
from tests.support.web import LISTEN, WebClient, port_of


def online(broker: Broker, work: Callable[[Internet], Awaitable[None]]) -> None:
    async def main() -> None:
        async with internet(port_of(broker)) as net:
            await work(net)

    asyncio.run(main())


def test_what_one_publishes_everybody_reads_alike(broker: Broker, room: str) -> None:
    """Over TCP and over WebSocket, the same bytes for all."""
    alice = broker.client("alice")
    number = alice.open(room).number
    alice.subscribe(number)

    async def work(net: Internet) -> None:
        browsers = [await net.browser(f"browser-{at}") for at in range(5)]
        for browser in browsers:
            await browser.open(room)
            await browser.subscribe(number)
            browser.messages.clear()
        writer = await net.browser("writer")
        assert await writer.publish(await writer.open(room), "a", b"b", {"c": 1}) == 1
        read = [await browser.records(3) for browser in browsers]
        assert all(records == read[0] for records in read)
        assert len({bytes(browser.messages[0]) for browser in browsers}) == 1
        assert await asyncio.to_thread(alice.records, 3) == read[0]

    online(broker, work)


def test_many_frames_in_one_message(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        browser = await net.browser()
        await browser.send(*[Ping(at) for at in range(1_000)])
        assert [await browser.receive() for _ in range(1_000)] == [Pong(at) for at in range(1_000)]

    online(broker, work)


def test_the_longest_frame_fits_a_message_and_more_does_not(broker: Broker, room: str) -> None:
    async def work(net: Internet) -> None:
        browser = await net.browser("b")
        number = await browser.open(room)
        assert await browser.publish(number, b"x" * (FRAME_BYTES_MAX - 200)) == 1
        await browser.subscribe(number)
        [record] = await browser.records(1)
        assert len(record.data) == FRAME_BYTES_MAX - 200
        await browser.socket.send_bytes(b"x" * (FRAME_BYTES_MAX + 1))
        with pytest.raises(EOFError, match="1009"):
            await browser.receive()

    online(broker, work)


def test_subprotocol_and_no_compression(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        browser = await net.browser(protocols=["chat", "outlast.v1"], compress=15)
        assert browser.socket.protocol == "outlast.v1" and not browser.socket.compress
        assert (await net.browser(protocols=["chat"])).socket.protocol is None

    online(broker, work)


def test_origins(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        await net.browser(origin=net.url)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await net.browser(origin="https://evil.example")
        assert caught.value.status == 403

    online(broker, work)


def test_text_is_refused_with_its_code(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        browser = await net.browser()
        await browser.socket.send_str("hello")
        with pytest.raises(EOFError, match="1003"):
            await browser.receive()

    online(broker, work)


def test_an_error_comes_before_the_close(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        browser = await net.stranger()
        await browser.socket.send_bytes(b"\x10\0\0\0\xff\0\0\0" + b"\0" * 8)
        message = await browser.socket.receive_bytes()
        assert message[4] == 0x06, "ERROR"
        with pytest.raises(EOFError, match="1002"):
            await browser.receive()

    online(broker, work)


def test_a_close_is_answered(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        browser = await net.browser()
        await browser.socket.close(code=4_000)
        assert browser.socket.close_code == 4_000

    online(broker, work)


def test_one_who_says_no_hello_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast_broker.server.TICK_S", 0.01)
    with running_broker(listen=LISTEN, hello_timeout_ms=30) as broker:

        async def work(net: Internet) -> None:
            browser = await net.stranger()
            assert (await browser.expect(Error)).code == 7
            with pytest.raises(EOFError, match="1002"):
                await browser.receive()

        online(broker, work)


def test_a_broker_that_leaves_says_when_to_come_back() -> None:
    with running_broker(listen=LISTEN, come_back_ms=1_234) as broker:

        async def work(net: Internet) -> None:
            browser = await net.browser("b")
            number = await browser.open("room")
            assert await browser.publish(number, 1) == 1
            broker.begin_stop()
            assert (await browser.expect(GoAway)).retry_after_ms == 1_234
            with pytest.raises(EOFError, match="1001"):
                await browser.receive()

        online(broker, work)
        broker.wait()
        assert broker.error is None


def test_one_who_does_not_read_costs_what_it_may(broker: Broker, room: str) -> None:
    """It is served from the log when it reads again, and nothing is missing; those who read notice nothing."""
    buffer_bytes, datas = 1 << 20, ["x" * 60_000] * 16

    async def work(net: Internet) -> None:
        stalled, reader, writer = await net.browser("stalled"), await net.browser("reader"), await net.browser("w")
        number = await stalled.open(room)
        for each in (reader, writer):
            await each.open(room)
        await stalled.subscribe(number, credit=1 << 30)
        await reader.subscribe(number, credit=1 << 30)
        transport = stalled.socket.get_extra_info("socket")
        assert isinstance(transport, object)
        stalled.socket._conn.transport.pause_reading()  # type: ignore[union-attr]
        for at in range(24):
            await writer.publish(number, *datas)
            assert (await reader.records(16 * (at + 1)))[-1].offset == 16 * (at + 1)
        [clogged] = [each for each in broker._server._connections if each.client == b"stalled"]
        assert clogged.clogged and clogged._out_bytes <= buffer_bytes * 2, "the log remembers the rest"
        stalled.socket._conn.transport.resume_reading()  # type: ignore[union-attr]
        records = await stalled.records(24 * 16)
        assert [record.offset for record in records] == list(range(1, 24 * 16 + 1))

    online(broker, work)


def test_an_upgrade_may_come_over_a_connection_that_was_used_before(broker: Broker) -> None:
    """As from a proxy that keeps connections; and frames may come right behind it."""
    request = (
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        b"\x89\x80\0\0\0\0" + b"\x88\x80\0\0\0\0"
    )
    with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock:
        sock.sendall(request)
        came = b""
        while data := sock.recv(4_096):
            came += data
    assert came.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 101 " in came
    assert came.endswith(b"\r\n\r\n\x8a\x00\x88\x00"), "the ping and the close are answered"


def test_a_handshake_that_is_none_is_answered_in_http(web: WebClient) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "8"}
    answer = web.ask("GET", "/v1/ws", **headers)
    assert answer.status == 426 and answer.headers["Sec-WebSocket-Version"] == "13"
