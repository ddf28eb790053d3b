"""The table of docs/http.md about bad input: each of its rows comes, and a neighbour notices nothing."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator

import pytest
from outlast_protocol.frames import Hello, Ping, Pong, encode

from tests.support.broker import PATIENCE_S, Broker, RawClient
from tests.support.tree import ROOT, table
from tests.support.web import port_of

ROWS = dict(table((ROOT / "docs" / "http.md").read_text(encoding="utf-8"), "what comes", "what it is answered with"))
MIB = 1 << 20
FIN, BINARY, TEXT, CONTINUATION, CLOSE = 0x80, 2, 1, 0, 8
HELLO = encode(Hello([1], "b"))
BOMB = zlib.compress(bytes(64 * MIB))


def frame(payload: bytes, first: int = FIN | BINARY, claimed: int | None = None, masked: bool = True) -> bytes:
    """Of a WebSocket client."""
    length = len(payload) if claimed is None else claimed
    if length < 126:
        size = bytes([length])
    else:
        size = b"\x7e" + length.to_bytes(2, "big") if length < 1 << 16 else b"\x7f" + length.to_bytes(8, "big")
    mask = os.urandom(4)
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    body = bytes(a ^ b for a, b in zip(payload, key, strict=True)) if len(payload) < 10_000 else payload
    return bytes([first, size[0] | 0x80 * masked]) + size[1:] + (mask + body if masked else payload)


def head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(headers or ("Host: localhost",)), "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def publish(body: bytes, *headers: str) -> bytes:
    kind = () if any(each.startswith("Content-Type") for each in headers) else ("Content-Type: application/json",)
    return (
        head("POST", "/v1/channels/room/records", "Host: localhost", *kind, f"Content-Length: {len(body)}", *headers)
        + body
    )


WEBSOCKET: dict[str, bytes] = {
    "a frame of WebSocket that says it is longer than 1 MiB": frame(b"", claimed=MIB + 1),
    "fragments that are longer together": frame(b"x" * MIB, BINARY) + frame(b"x", CONTINUATION),
    "a text message": frame(b"hello", FIN | TEXT),
    "a compressed message, as of a bomb": frame(BOMB[:60_000], 0x40 | FIN | BINARY),
    "a frame that is not masked": frame(b"x", masked=False),
    "a fragment of no message": frame(b"x", FIN | CONTINUATION),
    "a message that ends within a frame of the protocol": frame(HELLO) + frame(encode(Ping(1))[:-1]),
    "a frame of the protocol that says it is longer than 1 MiB": frame(HELLO)
    + frame((1 << 31).to_bytes(4, "little") + b"\x12\0\0\0"),
    "100,000 empty fragments": frame(HELLO)
    + frame(encode(Ping(1)), BINARY)
    + frame(b"", CONTINUATION) * 100_000
    + frame(b"", FIN | CONTINUATION),
}
UPGRADE = head(
    "GET", "/v1/ws", "Host: localhost", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
).replace(b"Connection: close", b"Connection: Upgrade")  # fmt: skip
PONG = encode(Pong(1))
HTTP: dict[str, bytes] = {
    "JSON that is none": publish(b'{"data": '),
    "JSON that is nested 100,000 deep": publish(b"[" * 100_000),
    "a field that a record does not have": publish(b'{"data": 1, "colour": "red"}'),
    "a parameter that a path does not have": head("GET", "/v1/channels?colour=red"),
    "a body that is packed, as a bomb": publish(BOMB[:60_000], "Content-Encoding: deflate"),
    "a body of more than 1 MiB": publish(b"").replace(b"Length: 0", b"Length: 1048577"),
    "a body of another kind": publish(b"<a/>", "Content-Type: text/xml"),
    "more than 1,024 different names in a batch": publish(
        b"[" + b",".join(b'{"data": 1, "name": "%d"}' % at for at in range(1_025)) + b"]"
    ),
    "a page of another origin": head("GET", "/v1/channels", "Host: localhost", "Origin: https://evil.example"),
    "a WebSocket of another origin": head(
        "GET", "/v1/ws", "Host: localhost", "Origin: https://evil.example", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ),
    "a name that was bent to loopback": head("GET", "/v1/channels", "Host: evil.example"),
    "`..` for a channel": head("GET", "/v1/channels/.."),
    "`../../livez`": head("GET", "/v1/channels/../../livez"),
    "`%2e%2e%2flivez` for a channel": head("GET", "/v1/channels/%2e%2e%2flivez"),
    "an empty segment": head("GET", "/v1/channels//records"),
    "`%00` for a channel": head("GET", "/v1/channels/%00"),
    "`%ff`, or `%zz`, for a channel": head("GET", "/v1/channels/%ff"),
    "a name of 256 bytes": head("GET", "/v1/channels/" + "x" * 256),
}  # fmt: skip


@pytest.fixture(autouse=True)
def neighbour(broker: Broker) -> Iterator[RawClient]:
    """Somebody who works meanwhile, and is not disturbed."""
    neighbour = broker.client("neighbour")
    number = neighbour.open("neighbour").number
    yield neighbour
    assert neighbour.publish(number, "after")[0]
    neighbour.close()


def answered(broker: Broker, request: bytes) -> bytes:
    """All that is said, up to the end."""
    with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def outcome(broker: Broker, said: bytes) -> str:
    """The code of the broker's CLOSE; "taken" when it goes on and answers a PING of the protocol."""
    with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as sock, sock.makefile("rb") as came:
        sock.sendall(UPGRADE)
        while came.readline() != b"\r\n":
            continue
        sock.sendall(said)
        while True:
            first, length = came.read(2)
            payload = came.read(int.from_bytes(came.read(2), "big") if length == 126 else length)
            if first & 0x0F == CLOSE:
                return str(int.from_bytes(payload[:2], "big"))
            if PONG in payload:
                return "taken"


def test_the_page_has_all_of_them() -> None:
    assert set(ROWS) == {*WEBSOCKET, *HTTP}


@pytest.mark.parametrize("name", HTTP)
def test_bad_input_over_http(broker: Broker, name: str) -> None:
    answer = answered(broker, HTTP[name])
    status, _, code = ROWS[name].partition(" ")
    assert answer[9:12].decode() == status, answer[:400]
    assert f'"code": "{code}"'.encode() in answer


@pytest.mark.parametrize("name", WEBSOCKET)
def test_bad_input_over_websocket(broker: Broker, name: str) -> None:
    assert outcome(broker, WEBSOCKET[name]) == ROWS[name]
