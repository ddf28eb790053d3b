"""Limits from outside: what one meets who is too many or too fast, and that the others notice nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import outlast
import pytest
from outlast_broker import server
from outlast_broker.config import Config
from outlast_broker.doors import admission, front_door
from outlast_broker.doors.address import TcpAddress
from outlast_broker.doors.limits import Limits
from outlast_broker.server import Server
from outlast_broker.web import websocket_door
from outlast_protocol import Connection, ErrorCode, Role
from outlast_protocol.frames import Error, Hello, Published, encode

from tests.support.broker import PATIENCE_S, Broker, RawClient, running_broker
from tests.support.certificates import HOST, Authority
from tests.support.web import LISTEN, WebClient, port_of


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TICK_S", 0.01)


@pytest.fixture
def from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections over loopback count as those of a stranger's address."""
    monkeypatch.setattr(front_door, "counted_as", lambda name: "10.0.0.1" if isinstance(name, tuple) else "")


def tcp(broker: Broker) -> socket.socket:
    return socket.create_connection((HOST, port_of(broker)), PATIENCE_S)


def refusal(sock: socket.socket) -> Error:
    """What a client is told instead of WELCOME, before the end."""
    sock.sendall(encode(Hello([1], "alice")))
    codec = Connection(Role.CLIENT)
    codec.send(Hello([1], "alice"))
    [error] = codec.receive(b"".join(iter(lambda: sock.recv(65_536), b"")))
    assert isinstance(error, Error)
    return error


# --- too many ---------------------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so_at_every_door() -> None:
    with running_broker(listen=LISTEN, limits=Limits(connections=2)) as broker:
        first, second = broker.client("first"), broker.client("second")
        with tcp(broker) as sock:
            error = refusal(sock)
            assert error.code == ErrorCode.OVERLOADED and error.detail["limit"] == "connections"
        web = WebClient(port_of(broker))
        answer = web.ask("GET", "/v1/channels")
        assert answer.status == 503 and answer.code == "overloaded" and answer.headers["Retry-After"] == "5"
        web.close()
        first.open("room")
        second.open("room")


def test_one_who_finds_it_full_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as another has left, and no earlier than it was told to."""
    monkeypatch.setattr(admission, "RETRY_MS", 300)

    async def main(broker: Broker) -> None:
        other = broker.client("other")
        reasons: list[str] = []

        def heard(state: str, reason: str) -> None:
            reasons.append(reason)
            if state == "waiting":
                other.close()

        url = f"outlast+unix://{broker.path}"
        async with outlast.connect(url, on_state=heard, timeout=30, backoff_base_ms=1) as client:
            await client.channel("room").publish("hello")
        assert any("1 are connected, allowed are 1" in reason for reason in reasons)

    with running_broker(limits=Limits(connections=1)) as broker:
        asyncio.run(main(broker))


def test_a_client_may_not_have_all_connections(room: str) -> None:
    with running_broker(limits=Limits(connections_per_client=2)) as broker:
        mine = [broker.client("alice") for _ in range(2)]
        third = broker.stranger("alice")
        third.send(Hello([1], "alice"))
        error = third.expect(Error)
        assert error.code == ErrorCode.OVERLOADED and error.detail["limit"] == "connections_per_client"
        third.sees_close()
        broker.client("bob").open(room)
        mine[0].open(room)


def test_an_address_may_not_have_all_connections(from_afar: None) -> None:
    with running_broker(listen=LISTEN, limits=Limits(connections_per_address=1)) as broker, tcp(broker) as sock:
        RawClient(sock, "alice").hello()
        with tcp(broker) as another:
            assert refusal(another).detail["limit"] == "connections_per_address"
        broker.client("bob").open("room")


# --- too fast ---------------------------------------------------------------------------------------------


def test_a_publisher_over_its_rate_is_read_later_and_loses_nothing() -> None:
    """The broker does not say so: the socket does. Nobody else waits."""
    limits = Limits(connection_publishes_per_s=20)
    with running_broker(limits=limits) as broker:
        fast, other = broker.client("fast"), broker.client("other")
        number = fast.open("room").number
        began = time.monotonic()
        fast.send(*[fast.publishing(number, "x") for _ in range(40)])
        other.subscribe(other.open("room").number)
        assert len(other.records(40)) == 40, "what was read already is taken"
        acknowledged = 0
        while acknowledged < 40:
            acknowledged += len(fast.expect(Published).acks)
        fast.hears_nothing()
        assert time.monotonic() - began > 0.8, "20 are a second's worth, the others take another"
        assert broker.within(lambda server: server.counters.paced) >= 1


def test_an_address_shares_its_rate(from_afar: None) -> None:
    limits = Limits(address_bytes_per_s=100_000)
    with running_broker(listen=LISTEN, limits=limits) as broker, tcp(broker) as one, tcp(broker) as two:
        writers = [RawClient(one, "one"), RawClient(two, "two")]
        for each in writers:
            each.hello()
        began = time.monotonic()
        for each in writers:
            each.publish(each.open("room").number, "x" * 60_000)
        writers[1].hears_nothing()
        assert time.monotonic() - began > 0.15, "120,000 bytes are 20,000 more than a second's worth"


def test_http_is_told_when_to_ask_again() -> None:
    with running_broker(listen=LISTEN, limits=Limits(client_publishes_per_s=1)) as broker:
        web = WebClient(port_of(broker))
        for at in range(2):
            assert web.ask("POST", "/v1/channels/room/records", [{"data": at}]).status == 201
        answer = web.ask("POST", "/v1/channels/room/records", [{"data": 3}])
        assert answer.status == 429 and answer.code == "rate_limited" and answer.headers["Retry-After"] in ("1", "2")
        assert answer.said["retryable"] and answer.said["retry_after_ms"] > 0
        assert web.ask("GET", "/livez").status == 200
        other = web.ask("POST", "/v1/channels/room/records", [{"data": 4}], Outlast_Client="other")
        assert other.status == 201 and other.said["last_offset"] == 3
        web.close()


# --- too slow ---------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    yield Authority(tmp_path)


WEBSOCKET = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SILENT = [b"", b"GET / HTTP/1.1\r\nA:", encode(Hello([1], "x"))[:-1], WEBSOCKET, b"\x16\x03\x01\x02\x00\x01"]
EACH, ROOM = 40, 100


def is_over(broker: Broker, ask: Callable[[Server], bool]) -> None:
    """Waits until it is so."""
    ends = time.monotonic() + PATIENCE_S
    while not broker.within(ask):
        assert time.monotonic() < ends, "waited in vain"


def test_those_who_never_say_what_they_want_are_ended_and_hold_up_nobody(
    authority: Authority, quick_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, half a head, half a HELLO, a WebSocket without HELLO, half of TLS: many of each, and one good client."""
    monkeypatch.setattr(websocket_door, "CLOSE_MS", 100)
    listen, limits = (*LISTEN, "tls:127.0.0.1:0"), Limits(arrivals=ROOM)
    times = {"hello_timeout_ms": 2_000, "handshake_timeout_ms": 2_000}
    with (
        running_broker(listen=listen, tls=authority.server(), limits=limits, **times) as broker,
        ExitStack() as stack,
    ):
        tls = next(each.port for each in broker.addresses if isinstance(each, TcpAddress) and each.tls)
        for opening in SILENT * EACH:
            port = tls if opening[:1] == b"\x16" else port_of(broker)
            stack.enter_context(socket.create_connection((HOST, port), PATIENCE_S)).sendall(opening)
        with tcp(broker) as sock:
            good = RawClient(sock, "good")
            good.hello()
            good.publish(good.open("room").number, "hello")
            assert broker.within(lambda server: len(server.lobby)) <= ROOM
            assert broker.within(lambda server: server.counters.crowded_out) >= 4 * EACH - ROOM
            is_over(broker, lambda server: not len(server.lobby) and server.connected == 1)
            good.publish(good.open("room").number, "hello again")


def test_what_waits_for_all_sockets_is_bounded(quick_ticks: None) -> None:
    """Readers that read nothing: those to whom most is owed have to go, resume and have lost nothing."""
    limits = Limits(outgoing_bytes=8 << 20)
    with running_broker(limits=limits, reader_buffer_bytes=1 << 20) as broker:
        writer, reader = broker.client("writer"), broker.client("reader")
        number = writer.open("room").number
        stalled = [broker.client(f"stalled-{at}") for at in range(40)]
        for each in (reader, *stalled):
            each.open("room")
            each.subscribe(number, credit=1 << 30)
        for at in range(1, 21):
            writer.publish(number, "x" * 500_000)
            assert reader.records(at)[-1].offset == at
        is_over(broker, lambda server: server.counters.overloaded > 0)
        is_over(broker, lambda server: server.waiting_bytes <= 8 << 20)
        again = broker.client("again")
        again.open("room")
        again.subscribe(number, credit=1 << 30)
        assert [record.offset for record in again.records(20)] == list(range(1, 21))


def test_limits_are_taken_up_by_a_reload() -> None:
    limits = Limits(connections=1, outgoing_bytes=0)
    with running_broker() as broker:
        broker.client("first")
        broker.within(lambda server: server._prepare_config(Config(limits=limits))())
        stranger = broker.stranger("second")
        stranger.send(Hello([1], "second"))
        assert stranger.expect(Error).detail["limit"] == "connections"
        broker.within(lambda server: server._prepare_config(Config(limits=Limits()))())
        broker.client("third")
