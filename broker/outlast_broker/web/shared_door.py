"""A WebSocket that several clients share, as the tabs of one browser do (PROTOCOL.md 3.6).

Each message begins with the number of the client that it is of or for; each of them is a connection like any other.
"""

from __future__ import annotations

import asyncio
from typing import cast

from outlast_protocol.limits import FRAME_BYTES_MAX

from .. import clock
from ..connection import ClientConnection
from ..doors.admission import Peer
from ..doors.door import address_of, bound_buffers
from ..engine import Engine
from .websocket import CloseCode, Opcode, Reader, frame_head
from .websocket_door import WebSocketDoor, hear_frames

NUMBER_BYTES = 4
SEATS_MAX = 64
# A socket with nobody on it is closed after so long.
EMPTY_MS = 5_000


class Seat:
    """The Wire of one client."""

    __slots__ = ("_door", "connection", "number", "peer")

    def __init__(self, door: SharedDoor, engine: Engine, peer: Peer, number: int) -> None:
        self._door = door
        self.number = number
        self.peer = peer
        self.connection = ClientConnection(engine, self, clock.steady_ms(), peer)

    def write(self, data: bytes) -> None:
        self._door.say(self.number, data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._door.end(self)

    def close(self) -> None:
        self._door.end(self)

    def abort(self) -> None:
        self._door.end(self)

    def pause_reading(self) -> None:
        self._door.hold(self)

    def resume_reading(self) -> None:
        self._door.let(self)

    def get_write_buffer_size(self) -> int:
        return self._door.get_write_buffer_size()


class SharedDoor(WebSocketDoor):
    """`_held` are the clients that say more than is taken: nobody is read while there are any."""

    __slots__ = ("_clogged", "_emptiness", "_held", "_seats")

    # --- the socket ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        bound_buffers(self._transport)
        self._reader = Reader(NUMBER_BYTES + FRAME_BYTES_MAX)
        self._seats: dict[int, Seat] = {}
        self._held: set[Seat] = set()
        self._clogged = False
        self._await_somebody()

    def pause_writing(self) -> None:
        self._clogged = True
        for seat in self._seats.values():
            seat.connection.clog()

    def resume_writing(self) -> None:
        self._clogged = False
        for seat in list(self._seats.values()):
            seat.connection.unclog()

    def connection_lost(self, exc: Exception | None) -> None:
        self._emptiness.cancel()
        if self._impatience is not None:
            self._impatience.cancel()
        self._said_close = True
        for seat in list(self._seats.values()):
            self._leave(seat)
        self._peer.leave()

    # --- what clients say ---------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> None:
        number, said = int.from_bytes(data[:NUMBER_BYTES], "little"), data[NUMBER_BYTES:]
        seat = self._seats.get(number)
        if not data:
            return
        if len(data) < NUMBER_BYTES or (seat is None and said and len(self._seats) == SEATS_MAX):
            self._fail(CloseCode.PROTOCOL_ERROR, f"a message begins with one of at most {SEATS_MAX} clients' numbers")
        elif said:
            hear_frames((seat or self._enter(number)).connection, said)
        elif seat is not None:
            self._leave(seat)

    def _enter(self, number: int) -> Seat:
        self._emptiness.cancel()
        seat = self._seats[number] = Seat(self, self._engine, self._peer.beside(), number)
        seat.connection.came_by("websocket", address_of(self._transport))
        seat.connection.token = self._token
        self._entered(seat.connection)
        if self._clogged:
            seat.connection.clog()
        return seat

    def _leave(self, seat: Seat) -> None:
        if self._seats.get(seat.number) is not seat:
            return
        del self._seats[seat.number]
        self.let(seat)
        seat.connection.closed()
        seat.peer.leave()
        self._left(seat.connection)
        if self._seats or self._said_close:
            return
        if self._engine.leaving:
            self._say_close(CloseCode.GOING_AWAY, "the broker is stopping")
        else:
            self._await_somebody()

    def _await_somebody(self) -> None:
        loop = asyncio.get_running_loop()
        self._emptiness: asyncio.TimerHandle = loop.call_later(
            EMPTY_MS / 1000, self._fail, CloseCode.NORMAL, "nobody uses this"
        )

    # --- called by the seats ------------------------------------------------------------------------------

    def say(self, number: int, data: bytes) -> None:
        if not self._said_close:
            head = frame_head(Opcode.BINARY, NUMBER_BYTES + len(data)) + number.to_bytes(NUMBER_BYTES, "little")
            self._transport.write(head + data)

    def end(self, seat: Seat) -> None:
        """Tells the client; its connection ends when whoever asked for that has returned."""
        if self._seats.get(seat.number) is seat:
            self.say(seat.number, b"")
            asyncio.get_running_loop().call_soon(self._leave, seat)

    def hold(self, seat: Seat) -> None:
        self._held.add(seat)
        self.pause_reading()

    def let(self, seat: Seat) -> None:
        self._held.discard(seat)
        if not self._held:
            self.resume_reading()
