"""The WebSocket door: the same frames as over TCP, in binary messages (PROTOCOL.md 3.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import FRAME_BYTES_MAX

from .. import clock
from ..connection import ClientConnection
from ..doors.admission import Peer
from ..doors.door import address_of, bound_buffers, end_writing
from ..engine import Engine
from .websocket import CloseCode, Message, Opcode, Reader, close_frame, frame_head

# How long the other end may take to answer a CLOSE.
CLOSE_MS = 5_000


class WebSocketDoor(asyncio.Protocol):
    """One socket that has become a WebSocket; it is its connection's Wire. `entered` and `left` tell who is there."""

    __slots__ = (
        "_connection", "_engine", "_entered", "_impatience", "_left", "_paused", "_peer", "_reader", "_said_close",
        "_token",
        "_transport",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        peer: Peer,
        entered: Callable[[ClientConnection], None],
        left: Callable[[ClientConnection], None],
        token: str | None = None,
    ) -> None:
        self._engine = engine
        self._peer = peer
        self._entered = entered
        self._left = left
        self._token = token
        self._reader = Reader(FRAME_BYTES_MAX)
        self._paused = False
        self._said_close = False
        self._impatience: asyncio.TimerHandle | None = None

    # --- the socket ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        bound_buffers(self._transport)
        self._connection = ClientConnection(self._engine, self, clock.steady_ms(), self._peer)
        self._connection.came_by("websocket", address_of(self._transport))
        self._connection.token, self._token = self._token, None
        self._entered(self._connection)

    def data_received(self, data: bytes) -> None:
        for message in self._reader.receive(data):
            self._take(message)
        failure = self._reader.failure
        if failure is not None and not self._said_close:
            self._fail(failure.code, failure.reason)
            # What the client is still writing is not read: a close now would take with it what it has not read yet.
            end_writing(self._transport)

    def pause_writing(self) -> None:
        self._connection.clog()

    def resume_writing(self) -> None:
        self._connection.unclog()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
        self._connection.closed()
        self._peer.leave()
        self._left(self._connection)

    # --- what the client says -----------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if message.opcode is Opcode.CLOSE:
            self._answer_close(message.data)
        elif message.opcode is Opcode.PING and not self._said_close:
            self._hear(b"")  # to be heard is what a ping is for
            self._transport.write(frame_head(Opcode.PONG, len(message.data)) + message.data)
        elif message.opcode is Opcode.BINARY and not self._said_close:
            self._hear(message.data)

    def _hear(self, data: bytes) -> None:
        hear_frames(self._connection, data)

    def _answer_close(self, payload: bytes) -> None:
        if not self._said_close:
            self._said_close = True
            self._transport.write(frame_head(Opcode.CLOSE, len(payload)) + payload)
        self._transport.close()

    # --- Wire ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Whole frames, as one message."""
        if not self._said_close:
            self._transport.write(frame_head(Opcode.BINARY, len(data)) + data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._say_close(CloseCode.GOING_AWAY, "the broker is stopping")

    def close(self) -> None:
        self._fail(CloseCode.PROTOCOL_ERROR, "the ERROR before this says why")

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        if not self._paused and not self._said_close:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def _say_close(self, code: CloseCode, reason: str) -> None:
        """Nothing more is said; the client's CLOSE ends the socket."""
        if not self._said_close:
            self._said_close = True
            self._transport.write(close_frame(code, reason))
            self.resume_reading()

    def _fail(self, code: CloseCode, reason: str) -> None:
        """As `_say_close`, to one who is not waited for long."""
        if not self._said_close:
            self._say_close(code, reason)
            self._impatience = asyncio.get_running_loop().call_later(CLOSE_MS / 1000, self._transport.abort)


def hear_frames(connection: ClientConnection, data: bytes) -> None:
    """A message is whole frames, whatever became of the connection by them."""
    connection.receive(data)
    if connection.within_frame:
        connection.fail(ProtocolError(ErrorCode.BAD_FRAME, "a WebSocket message holds whole frames"))
