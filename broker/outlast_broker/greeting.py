"""HELLO and AUTH: who comes, and what both ends may rely on from then on (PROTOCOL.md 3.2, 3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, frames as f, limits
from outlast_protocol.heartbeat import heartbeat_ms_agreed

from . import __version__, clock
from .auth.identity import Identity
from .names import is_name

if TYPE_CHECKING:
    from .connection import ClientConnection

FEATURES: tuple[str, ...] = ()
LIMITS = dict(limits.stated())
# What is kept of what a client says that it is.
AGENT_LETTERS_MAX = 64
SERVER = f"outlast/{__version__}"


def hello(connection: ClientConnection, frame: f.Hello) -> None:
    if connection.broken:
        return  # what came with it breaks the rules: that is the answer
    now_ms = clock.now_ms()
    try:
        producer = _checked(frame)
        token, connection.token = frame.token or connection.token, None
        identity = connection.engine.authority.identify(token, now_ms)
        client_id = _client_id(identity, frame.client_id)
        if connection.peer is not None:
            connection.engine.admission.greet(connection.peer, client_id.encode(), clock.steady_ms())
    except ProtocolError as error:
        connection.fail(error)
        return
    heartbeat_ms = heartbeat_ms_agreed(frame.heartbeat_ms)
    features = [name for name in FEATURES if name in frame.features]
    stated = LIMITS | {"channels": connection.engine.config.channels_per_connection}
    ends_ms = _expires_in_ms(identity, now_ms)
    welcome = f.Welcome(f.VERSION, client_id, heartbeat_ms, now_ms, features, stated, SERVER, ends_ms)
    connection.agent = frame.agent[:AGENT_LETTERS_MAX]
    connection.greet(welcome, producer, identity)


def _client_id(identity: Identity, asked: str | None) -> str:
    if asked is not None and not is_name(asked, limits.CLIENT_ID_BYTES_MAX):
        text = f"client_id must be 1 to {limits.CLIENT_ID_BYTES_MAX} bytes of UTF-8 without control characters"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    return identity.client.choose(asked)


def _expires_in_ms(identity: Identity, now_ms: int) -> int | None:
    return max(identity.expires_ms - now_ms, 0) if identity.expires_ms else None


def auth(connection: ClientConnection, frame: f.Auth) -> None:
    """A token that is not believed ends the connection; one of somebody else is refused."""
    now_ms = clock.now_ms()
    identity = connection.engine.authority.identify(frame.token, now_ms)
    identity.client.choose(connection.client.decode())
    if identity.subject != connection.identity.subject:
        raise ProtocolError(ErrorCode.FORBIDDEN, "the token is of another subject: it needs a connection of its own")
    connection.become(identity)
    expires_in_ms = _expires_in_ms(identity, now_ms)
    connection.reply(frame.request, {} if expires_in_ms is None else {"expires_in_ms": expires_in_ms})


def _checked(frame: f.Hello) -> tuple[int, int] | None:
    """The client's producer. Raises ProtocolError."""
    if f.VERSION not in frame.versions:
        text = f"the client speaks versions {frame.versions[:8]}, this broker {f.VERSION}"
        raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, text)
    if frame.producer is None:
        return None
    if len(frame.producer) != 2 or max(frame.producer) >= 2**64:
        raise ProtocolError(ErrorCode.BAD_BODY, "producer is [id, epoch], two u64")
    return frame.producer[0], frame.producer[1]
