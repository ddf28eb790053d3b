"""Those who want to harm: what they are told, and that the others notice nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.broker import PATIENCE_S, Broker, RawClient, running_broker
from tests.support.web import LISTEN, WebClient, port_of

Say = Callable[..., bytes]


@pytest.fixture
def say(broker: Broker) -> Say:
    """What the broker answers to these bytes, until it closes."""

    def say(*parts: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock:
            try:
                for part in parts:
                    sock.sendall(part)
                return b"".join(iter(lambda: sock.recv(65_536), b""))
            except ConnectionResetError:
                return b""

    return say


@pytest.fixture(autouse=True)
def neighbour(broker: Broker, room: str) -> Iterator[RawClient]:
    """Somebody who works meanwhile, and is not disturbed."""
    neighbour = broker.client("neighbour")
    number = neighbour.open(f"{room}-neighbour").number
    assert neighbour.publish(number, "before")[0]
    yield neighbour
    assert neighbour.publish(number, "after")[0]
    neighbour.close()


def status(answer: bytes) -> bytes:
    return answer[9:12]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\n" + b"".join(b"A%d: x\r\n" % at for at in range(500)) + b"\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 200_000, b"400"),
        (b"GET  HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /livez\r\n\r\n", b"421"),
        (b"GET /livez HTTP/9.9\r\n\r\n", b"400"),
        (b"get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GETX\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /v1/channels/\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"400"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_so(say: Say, request_: bytes, expected: bytes) -> None:
    answer = say(request_)
    assert answer[:5] == b"HTTP/" and status(answer) == expected, answer[:300]
    assert expected != b"400" or b'"code": "bad_' in answer


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -1\r\n", b"Content-Length: 5x\r\n", b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: gzip, chunked, gzip\r\n",
    ],
)  # fmt: skip
def test_nothing_is_smuggled_by_two_lengths(say: Say, web: WebClient, room: str, lengths: bytes) -> None:
    """What one takes for a body another would take for a request."""
    hidden = b"POST /v1/channels/%s/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    hidden = hidden % room.encode() + b"Content-Length: 1\r\n\r\nx"
    answer = say(b"POST /v1/channels/x/records HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n0\r\n\r\n" + hidden)
    assert answer.count(b"HTTP/1.1 ") <= 1 and status(answer) in (b"400", b"413", b""), answer[:300]
    assert web.ask("GET", f"/v1/channels/{room}").status == 404


def test_a_body_in_broken_chunks(say: Say) -> None:
    head = b"POST /v1/channels/x/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    answer = say(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
    assert status(answer) == b"400"


def test_a_body_that_grows_and_grows(say: Say) -> None:
    head = b"POST /v1/channels/x/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    chunk = b"%x\r\n" % 65_536 + b"x" * 65_536 + b"\r\n"
    assert status(say(head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40)) in (b"413", b"")


def test_one_who_ends_in_the_middle_of_its_body(broker: Broker, web: WebClient, room: str) -> None:
    head = f"POST /v1/channels/{room}/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock:
        sock.sendall(head.encode() + b"Content-Length: 100\r\n\r\nhalf")
    assert web.ask("GET", f"/v1/channels/{room}").status == 404, "half a body is not stored"


def test_many_requests_at_once_over_one_connection(say: Say) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
    last = request + b"Connection: close\r\n\r\n"
    assert say((request + b"\r\n") * 499 + last).count(b"HTTP/1.1 200 ") == 500


def test_a_head_that_comes_byte_by_byte_and_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast_broker.server.TICK_S", 0.01)
    with running_broker(listen=LISTEN, hello_timeout_ms=50) as broker:
        with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nA")
            answer = b"".join(iter(lambda: sock.recv(4_096), b""))
        assert status(answer) == b"408"


def test_deep_and_wide_json(web: WebClient, room: str) -> None:
    path = f"/v1/channels/{room}/records"
    json = {"Content_Type": "application/json"}
    for body in (b'{"data":' * 50_000, b"[" * 900_000, b'{"data": 1, "headers": ' + b"1" * 500_000 + b"}"):
        assert web.ask("POST", path, body, **json).status == 400
    assert web.ask("POST", path, b"[" + b'{"data":1},' * 65_536 + b'{"data":1}]', **json).status == 400


def test_an_upgrade_to_something_else_stays_http(say: Say) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n"
    assert status(say(request)) == b"200"
