"""One socket from dialling to its end: bytes in, frames out, heartbeats, one end with one cause.

`link.py` dials it and puts one wire after another; no other file touches a transport.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from outlast_protocol import Connection, Malformed, ProtocolError, Role
from outlast_protocol.frames import Frame, Hello, Ping
from outlast_protocol.heartbeat import Beat, beat

from .errors import Closed, ConnectFailed, ConnectionLost, OutlastError, from_codec

RECEIVE_BYTES = 262_144
GREETING_TIMEOUT_MS = 5_000


class Owner(Protocol):
    """Who gets what the wire brings."""

    def received(self, wire: Wire, frame: Frame | Malformed) -> None: ...

    def wire_ended(self, wire: Wire) -> None: ...


class Wire(asyncio.BufferedProtocol):
    """`failure` is why it ended or is about to; `ended` is set when the socket is gone."""

    def __init__(self, owner: Owner, hello: Hello) -> None:
        self._owner = owner
        self.hello = hello
        self._loop = asyncio.get_running_loop()
        self._codec = Connection(Role.CLIENT)
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flush_is_due = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_ms = self._received_ms = self._opened_ms = self.now_ms()
        self._heartbeat_ms = 0
        self.failure: OutlastError | None = None
        self.ended = asyncio.Event()

    def now_ms(self) -> float:
        return self._loop.time() * 1000

    @property
    def is_open(self) -> bool:
        """WELCOME has come."""
        return self._heartbeat_ms > 0

    @property
    def was_heard(self) -> bool:
        """Something has come."""
        return self._received_ms > self._opened_ms or self.is_open

    @property
    def lived_ms(self) -> float:
        """For how long this wire has been open, 0 before WELCOME."""
        return self.now_ms() - self._opened_ms if self.is_open else 0.0

    def open(self, heartbeat_ms: int) -> None:
        """The broker said WELCOME: from here on silence is judged by heartbeats."""
        self._heartbeat_ms = max(heartbeat_ms, 1)
        self._opened_ms = self.now_ms()
        self._beat()

    def send(self, frame: Frame) -> None:
        """Goes out at the end of this loop turn, with all else that is sent in it."""
        if self.failure is not None:
            return
        data = self._codec.send(frame)
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush)

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self._out_bytes + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def flush(self) -> None:
        self._flush_is_due = False
        if self._out and self._transport is not None and not self._transport.is_closing():
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._sent_ms = self.now_ms()
            self._transport.write(data)

    def fail(self, failure: OutlastError) -> None:
        """Ends this wire at once; nothing that arrives later is looked at."""
        if self.failure is None:
            self.failure = failure
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Ends this wire after what was sent has gone out."""
        self.flush()
        if self.failure is None:
            self.failure = Closed("the client closed the connection")
        if self._transport is not None:
            self._transport.close()

    @property
    def is_gone(self) -> bool:
        """The socket is closed, or never was."""
        return self._transport is None or self.ended.is_set()

    async def gone(self, timeout: float) -> None:
        """Returns when the socket is closed; one that does not drain within `timeout` seconds is cut."""
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await self.ended.wait()
        except TimeoutError:
            self._transport.abort()
            await self.ended.wait()

    # --- called by the loop -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.failure is not None:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(GREETING_TIMEOUT_MS / 1000, self._not_greeted)
        self.send(self.hello)
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """What frames make others send goes out together, after the last of them."""
        self._received_ms = self.now_ms()
        self._flush_is_due = True
        for frame in self._codec.receive(bytes(self._view[:nbytes])):
            if self.failure is not None:
                return
            self._owner.received(self, frame)
        if self._codec.failure is not None:
            self.fail(self._misunderstood(self._codec.failure))
        self.flush()

    def _misunderstood(self, error: ProtocolError) -> OutlastError:
        if self.is_open:
            return from_codec(error)
        return ConnectFailed(f"what answers there is no Outlast broker ({error.message})")

    def eof_received(self) -> None:
        """The transport closes itself then."""

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.failure is None:
            self.failure = ConnectionLost(f"the connection ended: {error or 'the broker closed it'}")
            self.failure.__cause__ = error
        self._owner.wire_ended(self)
        self.ended.set()

    # --- heartbeats ---------------------------------------------------------------------------------------

    def _not_greeted(self) -> None:
        self.fail(ConnectionLost(f"the broker did not answer HELLO within {GREETING_TIMEOUT_MS} ms"))

    def _beat(self) -> None:
        now_ms = int(self.now_ms())
        if self._timer is not None:
            self._timer.cancel()
        what = beat(now_ms, int(self._sent_ms), int(self._received_ms), self._heartbeat_ms)
        if what is Beat.DEAD:
            self.fail(ConnectionLost(f"nothing came from the broker in 2.5 times {self._heartbeat_ms} ms"))
            return
        if what is Beat.PING:
            self.send(Ping(now_ms))
        self._timer = self._loop.call_later(self._heartbeat_ms / 4000, self._beat)
