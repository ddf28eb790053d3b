"""The one port: the first bytes of a socket tell the native protocol from HTTP, and its door takes it over.

HELLO is the first frame, and at most 16 KiB long: the second byte of its length is at most 0x40, "@". An HTTP method
has two letters at least, and letters come after "@". A TLS handshake begins with 0x16, 3 and a version that is not 0,
where the length of HELLO has a 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from outlast_protocol import ErrorCode
from outlast_protocol.frames import Error, encode

from . import clock, logs

logger = logs.logger("outlast.connection")

Door = Callable[[], asyncio.Protocol]

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


_TOO_SLOW = plain_answer("408 Request Timeout", "the request's head came too slow")


class Arrival(Protocol):
    """A socket of which nobody knows yet what it wants."""

    def tick(self, now_ms: int) -> None:
        """Sends it away if it has had its time."""

    def close(self) -> None:
        """Nobody waits for it any longer."""


class FrontDoor(asyncio.Protocol):
    """One socket of which nobody knows yet what it speaks; it is in `arrivals` until somebody does."""

    __slots__ = ("_arrivals", "_arrived_ms", "_came", "_native", "_transport", "_web", "timeout_ms")

    def __init__(self, native: Door, web: Door, arrivals: set[Arrival], timeout_ms: int) -> None:
        self._native = native
        self._web = web
        self._arrivals = arrivals
        self.timeout_ms = timeout_ms
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arrived_ms = clock.steady_ms()
        self._arrivals.add(self)

    def data_received(self, data: bytes) -> None:
        came = self._came = self._came + data if self._came else data
        if is_tls(came):
            logger.info("refused", error="TLS on an address that does not speak it")
            self._transport.write(_TLS_REFUSAL)
            self.close()
        elif not came[:2].isalpha():
            if not may_be_tls(came):
                self._hand_over(self._native)
        elif _HEAD_END in came or len(came) > HEAD_BYTES_MAX:
            self._hand_over(self._web)

    def _hand_over(self, door: Door) -> None:
        self._arrivals.discard(self)
        came, self._came = self._came, b""
        protocol = door()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(came)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrivals.discard(self)

    def tick(self, now_ms: int) -> None:
        """Sends those away who do not say what they want (PROTOCOL.md 3.2)."""
        if now_ms - self._arrived_ms >= self.timeout_ms:
            slow = _TOO_SLOW if self._came else encode(Error(0, ErrorCode.HELLO_TIMEOUT, "no HELLO came"))
            self._transport.write(slow)
            self.close()

    def close(self) -> None:
        """Nobody waits here any longer."""
        self._arrivals.discard(self)
        self._transport.close()
