"""Several clients on one socket, with a transport that is told; clients/js/test has it with tabs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker.connection import ClientConnection
from outlast_broker.web.shared_door import SEATS_MAX, SharedDoor
from outlast_broker.web.websocket import CloseCode, Opcode
from outlast_protocol import Connection, ErrorCode, Role
from outlast_protocol.frames import Error, Hello, Ping, Pong, Welcome, encode

from tests.broker.stage import Stage
from tests.broker.web.test_websocket import frame
from tests.broker.web.test_websocket_door import Transport, parsed


class Tabs:
    """A socket of several clients, each with a codec of its own."""

    def __init__(self, stage: Stage, sock: socket.socket) -> None:
        self.stage = stage
        self.inside: set[ClientConnection] = set()
        self.transport = Transport(sock)
        self.door = SharedDoor(stage.engine, stage.engine.admission.enter("", 0), self.inside.add, self.inside.discard)
        self._codecs: dict[int, Connection] = {}
        stage.call(lambda: self.door.connection_made(self.transport))

    def sends(self, number: int, data: bytes = b"") -> None:
        message = frame(Opcode.BINARY, number.to_bytes(4, "little") + data)
        self.stage.call(lambda: self.door.data_received(message))

    def said(self) -> list[tuple[int, list[Any]]]:
        """Whose each message is, and its frames; none: its end."""
        written, self.transport.written = self.transport.written, b""
        return [self._read(data) for opcode, data in parsed(written) if opcode is Opcode.BINARY]

    def _read(self, data: bytes) -> tuple[int, list[Any]]:
        number = int.from_bytes(data[:4], "little")
        return number, list(self._codecs[number].receive(data[4:]))

    def greet(self, number: int) -> None:
        codec = self._codecs[number] = Connection(Role.CLIENT)
        self.sends(number, codec.send(Hello([1], f"tab {number}")))
        [(whose, [welcome])] = self.said()
        assert whose == number and isinstance(welcome, Welcome) and welcome.client_id == f"tab {number}"


@pytest.fixture
def tabs(stage: Stage) -> Iterator[Tabs]:
    with socket.socket(socket.AF_INET) as sock:
        tabs = Tabs(stage, sock)
        yield tabs
        stage.call(lambda: tabs.door.connection_lost(None))
        assert tabs.inside == set()


def closed_with(tabs: Tabs) -> int:
    opcode, data = parsed(tabs.transport.written)[-1]
    assert opcode is Opcode.CLOSE
    return int.from_bytes(data[:2], "big")


def test_each_is_a_connection_of_its_own(tabs: Tabs) -> None:
    tabs.greet(1)
    tabs.greet(7)
    tabs.sends(7, encode(Ping(1)))
    tabs.sends(1, encode(Ping(2)))
    assert tabs.said() == [(7, [Pong(1)]), (1, [Pong(2)])]
    assert len(tabs.inside) == 2


def test_one_leaves_and_the_others_stay(tabs: Tabs) -> None:
    tabs.greet(1)
    tabs.greet(2)
    tabs.sends(1)
    assert [connection.client for connection in tabs.inside] == [b"tab 2"]
    tabs.sends(2, encode(Ping(1)))
    assert tabs.said() == [(2, [Pong(1)])]


def test_whoever_breaks_the_protocol_goes_alone(stage: Stage, tabs: Tabs) -> None:
    tabs.greet(1)
    tabs.greet(2)
    tabs.sends(1, encode(Ping(1))[:9])
    stage.idle()
    (whose, [error]), end = tabs.said()
    assert (whose, error.code, end) == (1, ErrorCode.BAD_FRAME, (1, [])) and isinstance(error, Error)
    assert [connection.client for connection in tabs.inside] == [b"tab 2"]
    assert not tabs.transport.closed


def test_all_hold_on_while_one_says_too_much(stage: Stage, tabs: Tabs) -> None:
    tabs.greet(1)
    tabs.greet(2)
    one, other = tabs.inside
    for connection in (one, other):
        stage.call(connection.hold)
    stage.call(one.unhold)
    assert not tabs.transport.reading
    stage.call(other.unhold)
    assert tabs.transport.reading


def test_a_socket_that_takes_no_more_clogs_all(stage: Stage, tabs: Tabs) -> None:
    tabs.greet(1)
    stage.call(tabs.door.pause_writing)
    tabs._codecs[2] = Connection(Role.CLIENT)
    tabs.sends(2, tabs._codecs[2].send(Hello([1], "tab 2")))
    assert all(connection.clogged for connection in tabs.inside)
    stage.call(tabs.door.resume_writing)
    stage.idle()
    assert not any(connection.clogged for connection in tabs.inside)


def test_there_are_not_too_many(tabs: Tabs) -> None:
    for number in range(SEATS_MAX):
        tabs.greet(number)
    tabs.sends(SEATS_MAX, encode(Ping(1)))
    assert closed_with(tabs) == CloseCode.PROTOCOL_ERROR


def test_a_message_without_a_number_is_refused(stage: Stage, tabs: Tabs) -> None:
    stage.call(lambda: tabs.door.data_received(frame(Opcode.BINARY, b"\1\0")))
    assert closed_with(tabs) == CloseCode.PROTOCOL_ERROR


def test_a_socket_that_nobody_uses_is_closed(stage: Stage, tabs: Tabs) -> None:
    assert not tabs.door._emptiness.cancelled()
    tabs.greet(1)
    assert tabs.door._emptiness.cancelled(), "somebody is there"
    tabs.sends(1)
    assert not tabs.door._emptiness.cancelled()
    stage.call(tabs.door._emptiness._run)
    assert closed_with(tabs) == CloseCode.NORMAL


def test_a_broker_that_stops_ends_each_then_the_socket(stage: Stage, tabs: Tabs) -> None:
    tabs.greet(1)
    tabs.greet(2)
    stage.engine.leaving = True
    for connection in list(tabs.inside):
        stage.call(connection.finish)
    stage.idle()
    assert closed_with(tabs) == CloseCode.GOING_AWAY
