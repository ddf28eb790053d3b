"""HELLO: who comes, and what both ends may rely on from then on (PROTOCOL.md 3.2)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, limits
from outlast_protocol import frames as f
from outlast_protocol.heartbeat import heartbeat_ms_agreed

from . import __version__, clock
from .names import is_name

if TYPE_CHECKING:
    from .connection import ClientConnection

FEATURES: tuple[str, ...] = ()
LIMITS = dict(limits.stated())


def hello(connection: ClientConnection, frame: f.Hello) -> None:
    if connection.broken:
        return  # what came with it breaks the rules: that is the answer
    try:
        client_id, producer = _checked(frame)
        if connection.peer is not None:
            connection.engine.admission.greet(connection.peer, client_id.encode(), clock.steady_ms())
    except ProtocolError as error:
        connection.fail(error)
        return
    heartbeat_ms = heartbeat_ms_agreed(frame.heartbeat_ms)
    features = [name for name in FEATURES if name in frame.features]
    stated = LIMITS | {"channels": connection.engine.config.channels_per_connection}
    server = f"outlast/{__version__}"
    welcome = f.Welcome(f.VERSION, client_id, heartbeat_ms, clock.now_ms(), features, stated, server)
    connection.greet(welcome, producer)


def _checked(frame: f.Hello) -> tuple[str, tuple[int, int] | None]:
    """The client's id and its producer. Raises ProtocolError."""
    if f.VERSION not in frame.versions:
        text = f"the client speaks versions {frame.versions[:8]}, this broker {f.VERSION}"
        raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, text)
    client_id = secrets.token_hex(6) if frame.client_id is None else frame.client_id
    if not is_name(client_id, limits.CLIENT_ID_BYTES_MAX):
        text = f"client_id must be 1 to {limits.CLIENT_ID_BYTES_MAX} bytes of UTF-8 without control characters"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if frame.producer is None:
        return client_id, None
    if len(frame.producer) != 2 or max(frame.producer) >= 2**64:
        raise ProtocolError(ErrorCode.BAD_BODY, "producer is [id, epoch], two u64")
    return client_id, (frame.producer[0], frame.producer[1])
