"""The one port: the first bytes of a socket tell the native protocol from HTTP, and its door takes it over.

HELLO is the first frame, and at most 16 KiB long: the second byte of its length is at most 0x40, "@". An HTTP method
has two letters at least, and letters come after "@". A TLS handshake begins with 0x16, 3 and a version that is not 0,
where the length of HELLO has a 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import HEADER_BYTES, Error, Hello, encode
from outlast_protocol.limits import HELLO_BYTES_MAX

from .. import clock, logs
from ..web.problem import PROBLEM_TYPE, of_error
from .admission import Admission, Peer, counted_as
from .door import end_writing
from .lobby import Lobby

logger = logs.logger("outlast.connection")

Door = Callable[[Peer], asyncio.Protocol]

# The head of a first request comes as a whole, and in time, before anybody works for it. What is longer is handed on
# to be refused.
HEAD_BYTES_MAX = 65_536
_HEAD_END = b"\r\n\r\n"
_TLS_HEAD = b"\x16\x03"
# A fatal alert, handshake_failure: clients of TLS say so instead of wondering at bytes that are no TLS.
_TLS_REFUSAL = b"\x15\x03\x01\x00\x02\x02\x28"


def is_tls(came: bytes) -> bool:
    """Whether these first bytes begin a TLS handshake."""
    return came[:2] == _TLS_HEAD and came[2:3] > b"\0"


def may_be_tls(came: bytes) -> bool:
    """Whether more of them could."""
    return len(came) < 3 and _TLS_HEAD.startswith(came[:2])


def plain_answer(status: str, text: str) -> bytes:
    """An answer in HTTP to one who is not worked for."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text) + 1}\r\nConnection: close"
    return f"{head}\r\n\r\n{text}\n".encode()


def may_be_hello(came: bytes) -> bool:
    """Whether more must come to know: a HELLO that is not whole yet. What cannot be one its door refuses."""
    length = int.from_bytes(came[:4], "little")
    begun = len(came) < 4 or (len(came) < length <= HELLO_BYTES_MAX)
    return begun and came[4:5] in (b"", _HELLO_TYPE) and not any(came[5:HEADER_BYTES])


def _problem_answer(error: ProtocolError) -> bytes:
    problem = of_error(error)
    body = problem.encoded()
    headers = {"Content-Type": PROBLEM_TYPE, "Content-Length": str(len(body)), "Connection": "close"} | problem.headers
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


_HELLO_TYPE = encode(Hello([1]))[4:5]
_TOO_SLOW = plain_answer("408 Request Timeout", "the request's head came too slow")
_NO_HELLO = encode(Error(0, ErrorCode.HELLO_TIMEOUT, "no HELLO came"))


class FrontDoor(asyncio.Protocol):
    """One socket of which nobody knows yet what it speaks; it is in the lobby until somebody does."""

    __slots__ = ("_admission", "_arrived_ms", "_came", "_lobby", "_native", "_over", "_transport", "_web", "timeout_ms")

    def __init__(self, native: Door, web: Door, lobby: Lobby, admission: Admission, timeout_ms: int) -> None:
        self._native = native
        self._web = web
        self._lobby = lobby
        self._admission = admission
        self._came = b""
        self._over = False
        self.timeout_ms = timeout_ms

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arrived_ms = clock.steady_ms()
        self._lobby.enter(self)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        came = self._came = self._came + data if self._came else data
        if is_tls(came):
            logger.info("refused", error="TLS on an address that does not speak it")
            self._transport.write(_TLS_REFUSAL)
            self.close()
        elif self._is_http:
            if _HEAD_END in came or len(came) > HEAD_BYTES_MAX:
                self._hand_over(self._web)
        elif not may_be_hello(came):
            self._hand_over(self._native)

    @property
    def _is_http(self) -> bool:
        return self._came[:2].isalpha()

    def _hand_over(self, door: Door) -> None:
        try:
            peer = self._admission.enter(counted_as(self._transport.get_extra_info("peername")), clock.steady_ms())
        except ProtocolError as error:
            self.turn_away(error)
            return
        self._lobby.leave(self)
        came, self._came = self._came, b""
        protocol = door(peer)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(came)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lobby.leave(self)

    def tick(self, now_ms: int) -> None:
        """Sends those away who do not say what they want (PROTOCOL.md 3.2)."""
        if now_ms - self._arrived_ms >= self.timeout_ms:
            if not self._over:
                self._transport.write(_TOO_SLOW if self._is_http else _NO_HELLO)
            self.close()

    def turn_away(self, error: ProtocolError) -> None:
        """Says why, in the words of who came, and waits for it to close: what it still writes is not read."""
        logger.info("turned_away", error=error.name, limit=error.detail["limit"])
        self._over = True
        if self._is_http:
            self._transport.write(_problem_answer(error))
        else:
            self._transport.write(encode(Error(0, error.code, error.message, error.detail)))
        end_writing(self._transport)

    def close(self) -> None:
        """Nobody waits here any longer."""
        self._lobby.leave(self)
        self._transport.close()
