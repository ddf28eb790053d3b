"""The one port: the first bytes of a socket tell the native protocol from HTTP, and its door takes it over.

HELLO is the first frame, and at most 16 KiB long: the second byte of its length is at most 0x40, "@". An HTTP method
has two letters at least, and letters come after "@".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from outlast_protocol import ErrorCode
from outlast_protocol.frames import Error, encode

from . import clock

Door = Callable[[], asyncio.Protocol]

# The head of a first request comes as a whole, and in time, before anybody works for it. What is longer is handed on
# to be refused.
HEAD_BYTES_MAX = 65_536
_HEAD_END = b"\r\n\r\n"
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n"
    b"the request's head came too slow\n"
)


class FrontDoor(asyncio.Protocol):
    """One socket of which nobody knows yet what it speaks; it is in `arrivals` until somebody does."""

    __slots__ = ("_arrivals", "_arrived_ms", "_came", "_native", "_transport", "_web")

    def __init__(self, native: Door, web: Door, arrivals: set[FrontDoor]) -> None:
        self._native = native
        self._web = web
        self._arrivals = arrivals
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arrived_ms = clock.steady_ms()
        self._arrivals.add(self)

    def data_received(self, data: bytes) -> None:
        came = self._came = self._came + data if self._came else data
        if not came[:2].isalpha():
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

    def tick(self, now_ms: int, timeout_ms: int) -> None:
        """Sends those away who do not say what they want (PROTOCOL.md 3.2)."""
        if now_ms - self._arrived_ms >= timeout_ms:
            slow = _TOO_SLOW if self._came else encode(Error(0, ErrorCode.HELLO_TIMEOUT, "no HELLO came"))
            self._transport.write(slow)
            self.close()

    def close(self) -> None:
        """Nobody waits here any longer."""
        self._arrivals.discard(self)
        self._transport.close()
