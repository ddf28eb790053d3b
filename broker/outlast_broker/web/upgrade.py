"""The handshake that makes a WebSocket of a request (RFC 6455, 4.2). Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha1

from .problem import Problem

SUBPROTOCOL = "outlast.v1"
SHARED = "outlast.shared.v1"
BEARER = "bearer."
_VERSION = "13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept(headers: Mapping[str, str]) -> bytes:
    """The answer that switches protocols. Raises Problem: 400 or 426. `headers` are looked up in any case."""
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(headers, "Connection"):
        raise _upgrade_needed("this path speaks WebSocket")
    if headers.get("Sec-WebSocket-Version", "").strip() != _VERSION:
        raise _upgrade_needed("this broker speaks WebSocket version 13")
    key = headers.get("Sec-WebSocket-Key", "").strip()
    if not _is_key(key):
        raise Problem(400, "bad_handshake", "Sec-WebSocket-Key is 16 bytes in base64")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(sha1(key.encode() + _GUID).digest()).decode()}",
    ]
    subprotocol = chosen(headers)
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode()


def chosen(headers: Mapping[str, str]) -> str | None:
    """Of the subprotocols that are offered, the one that is spoken then."""
    offered = _tokens(headers, "Sec-WebSocket-Protocol")
    return next((each for each in (SHARED, SUBPROTOCOL) if each in offered), None)


def token_of(headers: Mapping[str, str]) -> str | None:
    """What a browser brings in the one header that its WebSocket lets it set: `outlast.v1, bearer.TOKEN`."""
    offered = [each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return next((each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)), None)


def _tokens(headers: Mapping[str, str], name: str) -> list[str]:
    return [token.strip().lower() for token in headers.get(name, "").split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _upgrade_needed(text: str) -> Problem:
    problem = Problem(426, "upgrade_required", text, "ask with Connection: Upgrade and Upgrade: websocket")
    problem.headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": _VERSION}
    return problem
