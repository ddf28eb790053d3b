"""The native door: sockets of TCP and Unix listeners, joined to the broker's end of the protocol.

Whatever gives a ClientConnection its bytes and a Wire to write to is a door; which one a socket has come to,
front_door.py finds out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from .. import clock
from ..connection import ClientConnection
from ..engine import Engine
from .admission import Peer

# The kernel holds this much unsent at most, so that what a stalled reader costs is ours to bound.
NOTSENT_LOWAT_BYTES = 65_536
WRITE_HIGH_BYTES = 65_536
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class NativeDoor(asyncio.Protocol):
    """One socket. `entered` and `left` tell the server who is there."""

    __slots__ = ("_connection", "_engine", "_entered", "_left", "_peer")

    def __init__(
        self,
        engine: Engine,
        peer: Peer,
        entered: Callable[[ClientConnection], None],
        left: Callable[[ClientConnection], None],
    ) -> None:
        self._engine = engine
        self._peer = peer
        self._entered = entered
        self._left = left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        bound_buffers(transport)
        self._connection = ClientConnection(self._engine, transport, clock.steady_ms(), self._peer)
        address = address_of(transport)
        self._connection.came_by("tcp" if address else "unix", address)
        self._entered(self._connection)

    def data_received(self, data: bytes) -> None:
        self._connection.receive(data)

    def pause_writing(self) -> None:
        self._connection.clog()

    def resume_writing(self) -> None:
        self._connection.unclog()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.closed()
        self._peer.leave()
        self._left(self._connection)


def address_of(transport: asyncio.BaseTransport) -> str:
    """Where the peer is, as `127.0.0.1:40312`; "" when that is no question, for a Unix socket."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_buffers(transport: asyncio.Transport) -> None:
    """What one socket may hold, here and in the kernel."""
    transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
    sock: socket.socket = transport.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)


def end_writing(transport: asyncio.Transport) -> None:
    """Says nothing more. What the peer is still writing is heard until it closes, for a socket that is closed on a peer
    that writes takes with it what it has not read yet. TLS has no half of an end: its close waits for the peer's.
    """
    if transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()
