"""CLAIM, SETTLE, EXTEND, ABANDON and CLAIMS: who may do something, and what came of it (PROTOCOL.md 6.13).

Rows beside the log: a claim, its result once it is done, and the highest token of the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack
from outlast_protocol import Encoding, ErrorCode, ProtocolError, frames as f, limits

from . import clock
from .channel import Channel
from .claim import Asked, Claim, Claims, Status, load
from .damage import Damaged
from .names import check_name

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .engine import Engine

CLAIM_ROW, RESULT_ROW = b"k", b"K"
# No claim has an empty key.
TOKEN_ROW = CLAIM_ROW
TTL_MS_MIN = 1_000
LIST_ROWS_MAX = 1_000


def claim(connection: ClientConnection, frame: f.Claim) -> None:
    channel = _judged(connection, frame)
    if not TTL_MS_MIN <= frame.ttl_ms <= limits.CLAIM_MS_MAX:
        text = f"ttl_ms is {frame.ttl_ms}, allowed are {TTL_MS_MIN} to {limits.CLAIM_MS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    now_ms = clock.now_ms()
    claims = claims_of(connection.engine, channel)
    standing = claims.get(frame.key, now_ms)
    mine = claims.asked_before(frame.key, frame.nonce)
    if standing is not None and standing.status is Status.DONE:
        _tell_result(connection, frame, channel, standing)
    elif mine is not None:
        _tell_granted(connection, frame, channel, claims.extend(frame.key, mine.token, now_ms))
    elif standing is not None and standing.status is Status.IN_PROGRESS:
        held = _in_progress(standing, now_ms)
        connection.after_commit(frame.request, lambda: connection.reply(frame.request, held))
    else:
        _tell_granted(connection, frame, channel, _grant(connection, frame, channel, now_ms))


def _grant(connection: ClientConnection, frame: f.Claim, channel: Channel, now_ms: int) -> Claim:
    engine = connection.engine
    engine.check_writable()
    claims = claims_of(engine, channel)
    for forgotten in claims.make_room(frame.key, now_ms):
        engine.put_row(channel, CLAIM_ROW + forgotten.encode(), None)
        engine.put_row(channel, RESULT_ROW + forgotten.encode(), None)
    granted = claims.grant(frame.key, Asked(connection.client.decode(), frame.ttl_ms, frame.nonce), now_ms)
    engine.put_row(channel, TOKEN_ROW, msgpack.packb([granted.token]))
    return granted


def _tell_granted(connection: ClientConnection, frame: f.Claim, channel: Channel, granted: Claim) -> None:
    _write(connection, channel, frame.key, granted)
    told = {
        "status": "granted",
        "token": granted.token,
        "attempt": granted.attempt,
        "ttl_ms": granted.ttl_ms,
    }
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, told))


def _in_progress(standing: Claim, now_ms: int) -> dict[str, Any]:
    return {
        "status": "in_progress",
        "holder": standing.holder,
        "attempt": standing.attempt,
        "retry_after_ms": standing.until_ms - now_ms,
    }


def _tell_result(connection: ClientConnection, frame: f.Claim, channel: Channel, done: Claim) -> None:
    unsaved = claims_of(connection.engine, channel).unsaved(frame.key)
    if unsaved is not None:
        _tell_later(connection, frame.request, _done(done, unsaved))
        return
    result = connection.engine.log.row(channel.number, RESULT_ROW + frame.key.encode())
    if result is None:
        raise Damaged(f"claim {frame.key!r} of channel {channel.name!r} is done and has no result")
    connection.reply(frame.request, _done(done, result))


def _done(done: Claim, result: bytes) -> dict[str, Any]:
    encoding, data, *_ = msgpack.unpackb(result)
    return {
        "status": "done",
        "attempt": done.attempt,
        "encoding": encoding,
        "data": data,
        "time_ms": done.time_ms,
    }


def settle(connection: ClientConnection, frame: f.Settle) -> None:
    channel = _judged(connection, frame)
    if frame.encoding not in set(Encoding):
        raise ProtocolError(ErrorCode.BAD_BODY, f"encoding is {frame.encoding}, allowed are 0 to {max(Encoding)}")
    if len(frame.data) > limits.CLAIM_RESULT_BYTES_MAX:
        most = limits.CLAIM_RESULT_BYTES_MAX
        text = f"a claim's result has at most {most} bytes, not {len(frame.data)}"
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="claim_result_bytes", value=most)
    claims = claims_of(connection.engine, channel)

    def change() -> dict[str, Any]:
        settled = claims.settle(frame.key, frame.token, clock.now_ms())
        if settled is not None:
            _write(connection, channel, frame.key, settled)
            _write_result(connection.engine, channel, frame)
        return {}

    _answer(connection, frame.request, change)


def _write_result(engine: Engine, channel: Channel, frame: f.Settle) -> None:
    claims, result = claims_of(engine, channel), msgpack.packb([frame.encoding, frame.data])
    engine.put_row(channel, RESULT_ROW + frame.key.encode(), result)
    claims.keep(frame.key, result)
    engine.after_commit(partial(claims.saved, frame.key))


def extend(connection: ClientConnection, frame: f.Extend) -> None:
    channel = _judged(connection, frame)

    def change() -> dict[str, Any]:
        claims = claims_of(connection.engine, channel)
        extended = claims.extend(frame.key, frame.token, clock.now_ms())
        _write(connection, channel, frame.key, extended)
        return {"ttl_ms": extended.ttl_ms}

    _answer(connection, frame.request, change)


def abandon(connection: ClientConnection, frame: f.Abandon) -> None:
    channel = _judged(connection, frame)

    def change() -> dict[str, Any]:
        claims = claims_of(connection.engine, channel)
        _write(connection, channel, frame.key, claims.abandon(frame.key, frame.token, clock.now_ms()))
        return {}

    _answer(connection, frame.request, change)


def claims(connection: ClientConnection, frame: f.Claims) -> None:
    channel = connection.named_channel(frame.channel)
    if not 1 <= frame.limit <= LIST_ROWS_MAX:
        raise ProtocolError(ErrorCode.BAD_BODY, f"limit is {frame.limit}, allowed are 1 to {LIST_ROWS_MAX}")
    known = claims_of(connection.engine, channel).rows(frame.after, frame.limit + 1, clock.now_ms())
    rows = [
        {
            "key": key,
            "status": each.status.name.lower(),
            "holder": each.holder,
            "attempt": each.attempt,
            "time_ms": each.time_ms,
        }
        for key, each in known[: frame.limit]
    ]
    _tell_later(connection, frame.request, {"claims": rows, "more": len(known) > len(rows)})


# --- small help -------------------------------------------------------------------------------------------


def claims_of(engine: Engine, channel: Channel) -> Claims:
    if channel.claims is None:
        rows = engine.log.rows(channel.number, CLAIM_ROW)
        [token, *_] = msgpack.unpackb(rows.pop(TOKEN_ROW, b"\x91\x00"))
        known = {key.removeprefix(CLAIM_ROW).decode(): value for key, value in rows.items()}
        channel.claims = load(known, token, engine.started_ms, clock.now_ms())
    return channel.claims


def _judged(connection: ClientConnection, frame: f.Claim | f.Settle | f.Extend | f.Abandon) -> Channel:
    channel = connection.opened_channel(frame.number)
    check_name("a claim's key", frame.key, limits.CLAIM_KEY_BYTES_MAX)
    return channel


def _write(connection: ClientConnection, channel: Channel, key: str, claim: Claim) -> None:
    connection.engine.put_row(channel, CLAIM_ROW + key.encode(), claim.encode())
    connection.engine.hold_back(connection)


def _answer(connection: ClientConnection, request: int, change: Callable[[], dict[str, Any]]) -> None:
    """What it is fenced with may not be on disk yet either: PROTOCOL.md 2.1."""
    try:
        result = change()
    except ProtocolError as fenced:
        connection.after_commit(request, partial(connection.refuse, request, fenced))
    else:
        connection.after_commit(request, partial(connection.reply, request, result))


def _tell_later(connection: ClientConnection, request: int, result: dict[str, Any]) -> None:
    """After the commit, and counted: these are large, and to ask for them takes next to nothing."""
    connection.pages_asked += 1

    def answer() -> None:
        connection.pages_asked -= 1
        connection.reply(request, result)
        connection.go_on()

    connection.after_commit(request, answer)
