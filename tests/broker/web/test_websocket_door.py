"""The door with a transport that is told; tests/doors has it with real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker.connection import ClientConnection
from outlast_broker.doors.door import WRITE_HIGH_BYTES
from outlast_broker.web import websocket_door
from outlast_broker.web.websocket import CloseCode, Opcode
from outlast_broker.web.websocket_door import WebSocketDoor
from outlast_protocol import Connection, ErrorCode, Role
from outlast_protocol.frames import Error, Hello, Open, Opened, Ping, Pong, Welcome, encode

from tests.broker.stage import Stage
from tests.broker.web.test_websocket import frame


class Transport(asyncio.Transport):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.high = 0
        self.written = b""
        self.reading = True
        self.ended = self.closed = self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


def parsed(data: bytes) -> list[tuple[Opcode, bytes]]:
    """The frames of the broker, which masks nothing."""
    found = []
    while data:
        opcode, length, start = Opcode(data[0] & 0x0F), data[1], 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        found.append((opcode, data[start : start + length]))
        data = data[start + length :]
    return found


class Visit:
    """A WebSocket that has come through the door, and what the broker has said to it."""

    def __init__(self, stage: Stage, sock: socket.socket) -> None:
        self.stage = stage
        self.inside: set[ClientConnection] = set()
        self.transport = Transport(sock)
        self.door = WebSocketDoor(
            stage.engine, stage.engine.admission.enter("", 0), self.inside.add, self.inside.discard
        )
        self._codec = Connection(Role.CLIENT)
        stage.call(lambda: self.door.connection_made(self.transport))

    def sends(self, *payloads: bytes) -> None:
        data = b"".join(frame(Opcode.BINARY, payload) for payload in payloads)
        self.stage.call(lambda: self.door.data_received(data))

    def said(self) -> list[tuple[Opcode, bytes]]:
        written, self.transport.written = self.transport.written, b""
        return parsed(written)

    def frames(self) -> list[Any]:
        """What its binary messages held."""
        return [each for opcode, data in self.said() if opcode is Opcode.BINARY for each in self._codec.receive(data)]

    def greet(self) -> None:
        self.sends(self._codec.send(Hello([1], "alice")))
        assert [type(each) for each in self.frames()] == [Welcome]


@pytest.fixture
def visit(stage: Stage) -> Iterator[Visit]:
    with socket.socket(socket.AF_INET) as sock:
        visit = Visit(stage, sock)
        yield visit
        stage.call(lambda: visit.door.connection_lost(None))
        assert visit.inside == set()


def closes_with(visit: Visit) -> tuple[int, list[int]]:
    """The code of CLOSE, which comes last, and the codes of the errors before it."""
    *before, (opcode, data) = visit.said()
    assert opcode is Opcode.CLOSE
    codec = Connection(Role.CLIENT)
    codec.send(Hello([1]))
    errors = [each for _, said in before for each in codec.receive(said) if isinstance(each, Error)]
    return int.from_bytes(data[:2], "big"), [each.code for each in errors]


def test_a_message_may_hold_several_frames(visit: Visit) -> None:
    visit.greet()
    visit.sends(encode(Ping(1)) + encode(Ping(2)))
    assert visit.frames() == [Pong(1), Pong(2)]
    assert visit.inside and visit.transport.high == WRITE_HIGH_BYTES


def test_what_one_turn_says_is_one_message(stage: Stage, visit: Visit) -> None:
    visit.greet()
    visit.sends(encode(Open(1, "room")) + encode(Open(2, "room")))
    stage.idle()
    [(opcode, data)] = visit.said()
    frames = visit._codec.receive(data)
    assert opcode is Opcode.BINARY and [type(each) for each in frames] == [Opened, Opened]


def test_a_message_of_part_of_a_frame_is_refused(visit: Visit) -> None:
    visit.greet()
    visit.sends(encode(Ping(1))[:9])
    assert closes_with(visit) == (CloseCode.PROTOCOL_ERROR, [ErrorCode.BAD_FRAME])


def test_a_fatal_error_comes_before_the_close(visit: Visit) -> None:
    visit.sends(b"GET / HTTP/1.1\r\n")
    assert closes_with(visit) == (CloseCode.PROTOCOL_ERROR, [ErrorCode.BAD_MAGIC])
    visit.sends(encode(Ping(1)))
    assert visit.said() == [], "nothing is heard or said any more"


def test_text_is_refused(stage: Stage, visit: Visit) -> None:
    stage.call(lambda: visit.door.data_received(frame(Opcode.TEXT, b"hi")))
    assert closes_with(visit) == (CloseCode.UNSUPPORTED, [])
    assert visit.transport.ended and not visit.transport.closed, "the close is not overtaken by a reset"


def test_one_who_does_not_answer_a_close_is_cut_off(
    stage: Stage, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_door, "CLOSE_MS", 1)
    stage.call(lambda: visit.door.data_received(frame(Opcode.TEXT, b"hi")))
    stage.until(lambda: visit.transport.aborted)


def test_a_close_is_answered_with_its_own_code(stage: Stage, visit: Visit) -> None:
    stage.call(lambda: visit.door.data_received(frame(Opcode.CLOSE, b"\x0f\xa0bye")))
    assert visit.said() == [(Opcode.CLOSE, b"\x0f\xa0bye")] and visit.transport.closed


def test_a_ping_is_answered_and_counts_as_being_heard(stage: Stage, visit: Visit, time: Any) -> None:
    visit.greet()
    time.advance(30_000)
    stage.call(lambda: visit.door.data_received(frame(Opcode.PING, b"p") + frame(Opcode.PONG, b"q")))
    assert visit.said() == [(Opcode.PONG, b"p")]
    time.advance(30_000)
    [connection] = visit.inside
    stage.call(lambda: connection.tick(time.now_ms()))
    stage.call(stage.engine.outbox.flush)
    assert [type(each) for each in visit.frames()] == [Ping], "37.5 s of silence would have been the end"


def test_a_full_socket_stops_reading_until_it_drains(stage: Stage, visit: Visit) -> None:
    stage.call(visit.door.pause_writing)
    assert not visit.transport.reading
    stage.call(visit.door.resume_writing)
    assert visit.transport.reading


def test_a_broker_that_leaves_says_so_and_waits_for_the_close(stage: Stage, visit: Visit) -> None:
    visit.greet()
    [connection] = visit.inside
    stage.call(visit.door.pause_writing)
    stage.call(connection.finish)
    assert closes_with(visit) == (CloseCode.GOING_AWAY, [])
    assert visit.transport.reading, "the answer to the close must be heard"
    stage.call(lambda: visit.door.data_received(frame(Opcode.BINARY, encode(Ping(1)))))
    stage.call(lambda: visit.door.data_received(frame(Opcode.CLOSE, b"\x03\xe9")))
    assert visit.said() == [] and visit.transport.closed


def test_one_who_does_not_drain_in_time_is_cut_off(stage: Stage, visit: Visit) -> None:
    [connection] = visit.inside
    stage.call(connection.abort)
    assert visit.transport.aborted
