from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker.connection import ClientConnection
from outlast_broker.doors.door import WRITE_HIGH_BYTES, NativeDoor
from outlast_protocol.frames import Hello, Ping, Pong, encode

from tests.broker.stage import Stage
from tests.support.broker import running_broker


class Transport(asyncio.Transport):
    """A transport that remembers what it was told; its socket is a real one."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.high = 0
        self.written = b""
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Visit:
    """A socket that has come through the door."""

    def __init__(self, stage: Stage, sock: socket.socket) -> None:
        self.inside: set[ClientConnection] = set()
        self.transport = Transport(sock)
        self.door = NativeDoor(stage.engine, stage.engine.admission.enter("", 0), self.inside.add, self.inside.discard)
        stage.call(lambda: self.door.connection_made(self.transport))


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET) as sock:
        yield sock


@pytest.fixture
def visit(stage: Stage, sock: socket.socket) -> Visit:
    return Visit(stage, sock)


def test_the_server_is_told_who_enters_and_leaves(stage: Stage, visit: Visit) -> None:
    assert len(visit.inside) == 1
    stage.call(lambda: visit.door.connection_lost(None))
    assert visit.inside == set()


def test_what_comes_goes_to_the_connection_and_its_answer_out(stage: Stage, visit: Visit) -> None:
    stage.call(lambda: visit.door.data_received(encode(Hello([1], "alice"))))
    stage.call(lambda: visit.door.data_received(encode(Ping(7))))
    assert visit.transport.written.endswith(encode(Pong(7)))


def test_a_full_socket_stops_reading_until_it_drains(stage: Stage, visit: Visit) -> None:
    """Otherwise answers to one who does not read them would pile up."""
    stage.call(visit.door.pause_writing)
    assert not visit.transport.reading
    stage.call(visit.door.resume_writing)
    assert visit.transport.reading


def test_what_one_socket_may_hold_is_bounded(visit: Visit, sock: socket.socket) -> None:
    assert visit.transport.high == WRITE_HIGH_BYTES <= 1 << 20
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "an acknowledgement does not wait for more"


def test_a_unix_socket_is_let_in_as_well(stage: Stage) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert Visit(stage, sock).inside


def test_frames_may_come_in_any_pieces() -> None:
    with running_broker() as broker:
        alice = broker.client("alice")
        for byte in encode(Ping(0)):
            alice.send_bytes(bytes([byte]))
        assert alice.expect(Pong) == Pong(0)
        alice.send_bytes(encode(Ping(1)) + encode(Ping(2))[:9])
        assert alice.expect(Pong) == Pong(1)
        alice.send_bytes(encode(Ping(2))[9:])
        assert alice.expect(Pong) == Pong(2)
