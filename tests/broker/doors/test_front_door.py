from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from outlast_broker import clock
from outlast_broker.doors.admission import RETRY_MS, Admission
from outlast_broker.doors.front_door import HEAD_BYTES_MAX, FrontDoor
from outlast_broker.doors.limits import Limits
from outlast_broker.doors.lobby import Lobby
from outlast_broker.metering.counters import Counters
from outlast_protocol import Connection, ErrorCode, Role
from outlast_protocol.frames import Error, Hello, encode

LIMITS = Limits()
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Inside(asyncio.Protocol):
    """What a socket is handed over to."""

    def __init__(self) -> None:
        self.came = b""

    def data_received(self, data: bytes) -> None:
        self.came += data


class Transport(asyncio.Transport):
    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.protocol: asyncio.BaseProtocol | None = None
        self.written = b""
        self.ended = self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


class Arrival:
    """A socket that has just come."""

    def __init__(self, limits: Limits = LIMITS, address: str = "10.0.0.1") -> None:
        self.native, self.web, self.lobby = Inside(), Inside(), Lobby(10, lambda: None)
        self.transport = Transport(address)
        self.admission = Admission(limits, Counters())
        self.door = FrontDoor(lambda peer: self.native, lambda peer: self.web, self.lobby, self.admission, 5_000)
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
    assert not len(arrival.lobby)


def test_a_length_that_looks_like_a_letter_is_native(arrival: Arrival) -> None:
    hello = next(each for each in (encode(Hello([1], agent="x" * n)) for n in range(99)) if each[:1] == b"G")
    arrival.says(*pieces(hello))
    assert arrival.native.came == hello


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "get"])
def test_a_method_is_http(arrival: Arrival, method: str) -> None:
    request = REQUEST.replace(b"GET", method.encode())
    arrival.says(*pieces(request))
    assert arrival.web.came == request


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\0\0\2", b"\x16\x04\0\0\2", b"\r\n\r\n", b"\0\0\0\0", b"O\0\0\0\3", b"\xff\xff\xff\xff"],
)
def test_anything_else_is_native_which_says_what_it_wants(arrival: Arrival, data: bytes) -> None:
    arrival.says(data)
    assert arrival.native.came == data


def test_tls_is_told_that_it_is_not_spoken_here(arrival: Arrival) -> None:
    arrival.says(*pieces(b"\x16\x03\x01"))
    assert arrival.transport.written == b"\x15\x03\x01\0\x02\x02\x28", "a fatal alert: handshake_failure"
    assert arrival.transport.closed and not len(arrival.lobby) and not arrival.native.came


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
    assert arrival.transport.closed and not len(arrival.lobby)


def test_a_slow_request_is_told_so_in_http(arrival: Arrival) -> None:
    arrival.says(b"GET / HT")
    arrival.door.tick(10**15)
    head, _, body = arrival.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ") and f"Content-Length: {len(body)}".encode() in head
    assert arrival.transport.closed


def test_one_who_is_in_time_is_left_alone(arrival: Arrival) -> None:
    arrival.door.tick(0)
    assert not arrival.transport.closed and list(arrival.lobby) == [arrival.door]


def test_one_who_leaves_is_forgotten(arrival: Arrival) -> None:
    arrival.door.connection_lost(None)
    assert not len(arrival.lobby)


def test_a_hello_is_waited_for_apart_from_those_who_have_said_it(arrival: Arrival) -> None:
    hello = encode(Hello([1], agent="x" * 100))
    arrival.says(*pieces(hello[:-1]))
    assert not arrival.native.came and len(arrival.lobby) == 1 and arrival.admission.connections == 0
    arrival.says(hello[-1:])
    assert arrival.native.came == hello and arrival.admission.connections == 1


FULL = Limits(connections=1)


def test_one_too_many_is_told_so_as_a_client() -> None:
    arrival = Arrival(FULL)
    arrival.admission.enter("", 0)
    arrival.says(encode(Hello([1])) + b"more")
    [error] = Connection(Role.CLIENT).receive(arrival.transport.written)
    assert isinstance(error, Error) and error.code == ErrorCode.OVERLOADED
    assert error.detail == {"limit": "connections", "retry_after_ms": RETRY_MS}
    assert arrival.transport.ended and not arrival.transport.closed and not arrival.native.came
    arrival.says(b"what it was still writing")
    arrival.door.tick(10**15)
    assert arrival.transport.closed and not len(arrival.lobby)


def test_one_too_many_is_told_so_in_http() -> None:
    arrival = Arrival(FULL)
    arrival.admission.enter("", 0)
    arrival.says(REQUEST)
    head, _, body = arrival.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n")
    assert b"Retry-After: 5\r\n" in head + b"\r\n" and f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["code"] == "overloaded"


def test_an_address_that_comes_too_often_is_told_when_to_come_back() -> None:
    arrival = Arrival(Limits(address_connects_per_s=1))
    arrival.admission.enter("10.0.0.1", clock.steady_ms())
    arrival.says(REQUEST)
    assert arrival.transport.written.startswith(b"HTTP/1.1 429 ")
    other = Arrival(Limits(address_connects_per_s=1), address="10.0.0.2")
    other.says(REQUEST)
    assert other.web.came == REQUEST
