"""REVOKE and REVOCATIONS: tokens that are not believed any more (PROTOCOL.md 6.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode, ProtocolError, frames as f
from outlast_protocol.limits import CLIENT_ID_BYTES_MAX

from . import clock
from .auth.revocations import TOKEN_ID_BYTES_MAX, Revocation
from .auth.settings import AuthSettings
from .names import check_name

if TYPE_CHECKING:
    from .connection import ClientConnection

ROWS_MAX = 1_000


def revoke(connection: ClientConnection, frame: f.Revoke) -> None:
    """Answered when a crash cannot take it back; those who are here are cut off at once."""
    engine = connection.engine
    cut = engine.authority.revoke(_revocation(frame, engine.authority.settings, clock.now_ms()))
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"cut": cut}))


def _revocation(frame: f.Revoke, settings: AuthSettings, now_ms: int) -> Revocation:
    """Raises ProtocolError."""
    issued_before_ms = now_ms if frame.issued_before_ms is None else frame.issued_before_ms
    # A token is believed from a skew before its `iat` on, for no longer than its lifetime and a skew.
    until_ms = max(issued_before_ms, now_ms) + settings.lifetime_ms + 2 * settings.skew_ms
    if (frame.subject is None) == (frame.token_id is None):
        raise ProtocolError(ErrorCode.BAD_BODY, "a subject is revoked, or a token_id: one of them")
    if frame.subject is not None:
        check_name("a subject", frame.subject, CLIENT_ID_BYTES_MAX)
        return Revocation(frame.subject, "", issued_before_ms, until_ms)
    assert frame.token_id is not None
    check_name("a token's id", frame.token_id, TOKEN_ID_BYTES_MAX)
    return Revocation("", frame.token_id, 0, until_ms)


def revocations(connection: ClientConnection, frame: f.Revocations) -> None:
    if not 1 <= frame.limit <= ROWS_MAX:
        raise ProtocolError(ErrorCode.BAD_BODY, f"limit is {frame.limit}, allowed are 1 to {ROWS_MAX}")
    found = connection.engine.authority.revoked(frame.after or "", frame.limit + 2)
    # The next page begins behind a name, which a subject and a token's id may share.
    both = len(found) > frame.limit and found[frame.limit].name == found[frame.limit - 1].name
    end = frame.limit + both
    answer = {"revocations": [_row(each) for each in found[:end]], "more": len(found) > end}
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, answer))


def _row(revocation: Revocation) -> dict[str, Any]:
    if revocation.token_id:
        return {"token_id": revocation.token_id, "until_ms": revocation.until_ms}
    times = {"issued_before_ms": revocation.issued_before_ms, "until_ms": revocation.until_ms}
    return {"subject": revocation.subject} | times
