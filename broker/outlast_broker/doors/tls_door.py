"""The door of an address that speaks TLS: the handshake, and the front door behind it.

It reads the first bytes itself, so that one who comes without TLS is told so in words.
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
from collections.abc import Callable
from typing import cast

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Error, encode

from .. import clock, logs
from .door import end_writing
from .front_door import FrontDoor, is_tls, may_be_tls, plain_answer
from .handshake import LISTENING
from .lobby import Lobby
from .tls import Tls

logger = logs.logger("outlast.tls")

# How long the other end may take to answer that TLS ends.
SHUTDOWN_S = 5.0
_PLAIN = "this address speaks TLS"
_NOT_TLS = encode(Error(0, ErrorCode.BAD_MAGIC, f"{_PLAIN}: connect to outlasts:// or wss:// here"))
_NOT_HTTPS = plain_answer("400 Bad Request", f"{_PLAIN}: ask for https:// here")


class TlsDoor(asyncio.Protocol):
    """One socket until its handshake is done, in the lobby until then. `failed` is told of each that never is."""

    __slots__ = (
        "_lobby",
        "_arrived_ms",
        "_came",
        "_failed",
        "_front",
        "_over",
        "_shaking",
        "_tls",
        "_transport",
        "timeout_ms",
    )

    def __init__(
        self, tls: Tls, front: Callable[[], FrontDoor], lobby: Lobby, timeout_ms: int,
        failed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._tls = tls
        self._front = front
        self._lobby = lobby
        self._failed = failed
        self._came = b""
        self._over = False
        self._shaking: asyncio.Task[None] | None = None
        self.timeout_ms = timeout_ms

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arrived_ms = clock.steady_ms()
        self._lobby.enter(self)

    def data_received(self, data: bytes) -> None:
        came = self._came = self._came + data
        if self._shaking is not None or self._over:
            return  # TLS is being put in place, and gets what has come until then; or nobody listens any more
        if is_tls(came):
            self._shaking = asyncio.get_running_loop().create_task(self._shake())
        elif not may_be_tls(came):
            self._over = True
            self._transport.write(_NOT_HTTPS if came[:2].isalpha() else _NOT_TLS)
            end_writing(self._transport)

    async def _shake(self) -> None:
        """Has the loop put TLS between the socket and a front door of its own."""
        loop = asyncio.get_running_loop()
        early = _Early()
        begun = loop.create_task(
            loop.start_tls(
                self._transport, early, self._tls.context, server_side=True,
                ssl_handshake_timeout=self.timeout_ms / 1000, ssl_shutdown_timeout=SHUTDOWN_S,
            )
        )  # fmt: skip
        await asyncio.sleep(0)  # start_tls has put its protocol in place, and has it connected in the next turn
        listening = contextvars.copy_context()
        listening.run(LISTENING.set, self._refuse)
        loop.call_soon(_feed, self._transport, self._came, context=listening)
        try:
            transport = await begun
            if transport is None or self._transport.is_closing():
                raise ConnectionResetError("the other end has left")
        except OSError as error:  # what OpenSSL says is one, too
            if not self._over:
                self._note_failure(error)
        else:
            early.give_way(transport, self._front())
        finally:
            self._lobby.leave(self)

    def _refuse(self, error: ssl.SSLError) -> None:
        """The loop writes the alert next. The other end closes when it has it, or the handshake's time is up."""
        self._over = True
        self._note_failure(error)
        asyncio.get_running_loop().call_soon(end_writing, self._transport)

    def _note_failure(self, error: OSError) -> None:
        logger.info("handshake_failed", error=str(error))
        self._failed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lobby.leave(self)

    def tick(self, now_ms: int) -> None:
        """Ends silence; a handshake that takes too long the loop ends itself."""
        if self._shaking is None and now_ms - self._arrived_ms >= self.timeout_ms:
            self._failed()
            self.close()

    def turn_away(self, error: ProtocolError) -> None:
        """Within a handshake nothing can be said."""
        logger.info("turned_away", error=error.name, limit=error.detail["limit"])

    def close(self) -> None:
        self._lobby.leave(self)
        self._transport.abort()


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    """Gives TLS what was read before it was there."""
    protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())
    while data:
        space = memoryview(protocol.get_buffer(len(data)))
        taken = min(len(space), len(data))
        space[:taken] = data[:taken]
        protocol.buffer_updated(taken)
        data = data[taken:]


class _Early(asyncio.Protocol):
    """Keeps what comes between the end of the handshake and the turn in which that is noticed."""

    def __init__(self) -> None:
        self._data = b""
        self._lost = False

    def data_received(self, data: bytes) -> None:
        self._data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def give_way(self, transport: asyncio.Transport, front: FrontDoor) -> None:
        if self._lost:
            return
        transport.set_protocol(front)
        front.connection_made(transport)
        if self._data:
            front.data_received(self._data)
