from __future__ import annotations

import asyncio
from typing import Any

import pytest
from outlast_broker.front_door import HEAD_BYTES_MAX, Arrival as Waiting, FrontDoor
from outlast_protocol import Connection, Role
from outlast_protocol.frames import Error, Hello, encode

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Inside(asyncio.Protocol):
    """What a socket is handed over to."""

    def __init__(self) -> None:
        self.came = b""

    def data_received(self, data: bytes) -> None:
        self.came += data


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None
        self.written = b""
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True


class Arrival:
    """A socket that has just come."""

    def __init__(self) -> None:
        self.native, self.web, self.arrivals = Inside(), Inside(), set[Waiting]()
        self.transport = Transport()
        self.door = FrontDoor(lambda: self.native, lambda: self.web, self.arrivals, 5_000)
        self.door.connection_made(self.transport)

    def says(self, *pieces: bytes) -> None:
        """As it does to whoever has the socket."""
        for piece in pieces:
            protocol = self.transport.protocol or self.door
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(piece)


@pytest.fixture
def arrival() -> Arrival:
    return Arrival()


def pieces(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


@pytest.mark.parametrize("agent", ["", "x" * 55, "x" * 200, "x" * 16_000])
def test_hello_of_any_length_is_native(arrival: Arrival, agent: str) -> None:
    hello = encode(Hello([1], agent=agent))
    arrival.says(*pieces(hello))
    assert arrival.native.came == hello and arrival.transport.protocol is arrival.native
    assert not arrival.arrivals


def test_a_length_that_looks_like_a_letter_is_native(arrival: Arrival) -> None:
    hello = next(each for each in (encode(Hello([1], agent="x" * n)) for n in range(99)) if each[:1] == b"G")
    arrival.says(*pieces(hello))
    assert arrival.native.came == hello


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "get"])
def test_a_method_is_http(arrival: Arrival, method: str) -> None:
    request = REQUEST.replace(b"GET", method.encode())
    arrival.says(*pieces(request))
    assert arrival.web.came == request


@pytest.mark.parametrize("data", [b"\x16\x03\0", b"\x16\x04", b"\r\n", b"\0", b"O\0", b"\xff"])
def test_anything_else_is_native_which_says_what_it_wants(arrival: Arrival, data: bytes) -> None:
    arrival.says(data)
    assert arrival.native.came == data


def test_tls_is_told_that_it_is_not_spoken_here(arrival: Arrival) -> None:
    arrival.says(*pieces(b"\x16\x03\x01"))
    assert arrival.transport.written == b"\x15\x03\x01\0\x02\x02\x28", "a fatal alert: handshake_failure"
    assert arrival.transport.closed and not arrival.arrivals and not arrival.native.came


def test_a_hello_that_begins_like_tls_is_native(arrival: Arrival) -> None:
    hello = next(each for each in (encode(Hello([1], agent="x" * n)) for n in range(999)) if each[:2] == b"\x16\x03")
    arrival.says(*pieces(hello))
    assert arrival.native.came == hello


def test_a_request_waits_for_the_end_of_its_head(arrival: Arrival) -> None:
    arrival.says(REQUEST[:-1])
    assert arrival.transport.protocol is None
    arrival.says(REQUEST[-1:] + b"more")
    assert arrival.web.came == REQUEST + b"more"


def test_a_head_without_end_is_handed_on_to_be_refused(arrival: Arrival) -> None:
    arrival.says(b"GET /" + b"x" * HEAD_BYTES_MAX)
    assert len(arrival.web.came) == HEAD_BYTES_MAX + 5


def test_one_who_says_nothing_is_told_so_as_a_client(arrival: Arrival) -> None:
    arrival.door.tick(10**15)
    [error] = Connection(Role.CLIENT).receive(arrival.transport.written)
    assert isinstance(error, Error) and error.code == 7
    assert arrival.transport.closed and not arrival.arrivals


def test_a_slow_request_is_told_so_in_http(arrival: Arrival) -> None:
    arrival.says(b"GET / HT")
    arrival.door.tick(10**15)
    head, _, body = arrival.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ") and f"Content-Length: {len(body)}".encode() in head
    assert arrival.transport.closed


def test_one_who_is_in_time_is_left_alone(arrival: Arrival) -> None:
    arrival.door.tick(0)
    assert not arrival.transport.closed and arrival.arrivals == {arrival.door}


def test_one_who_leaves_is_forgotten(arrival: Arrival) -> None:
    arrival.door.connection_lost(None)
    assert not arrival.arrivals
