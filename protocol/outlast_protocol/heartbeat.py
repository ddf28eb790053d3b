"""When to ping and when to give a peer up: the same rule for both ends (PROTOCOL.md 3.4)."""

from __future__ import annotations

from enum import Enum

HEARTBEAT_MS_DEFAULT = 15_000
HEARTBEAT_MS_MIN = 1_000
HEARTBEAT_MS_MAX = 60_000


class Beat(Enum):
    """What to do now."""

    REST = "rest"
    PING = "ping"
    DEAD = "dead"


def heartbeat_ms_agreed(asked_ms: int) -> int:
    """The interval a broker grants: what was asked, within bounds."""
    return min(max(asked_ms, HEARTBEAT_MS_MIN), HEARTBEAT_MS_MAX)


def beat(now_ms: int, sent_ms: int, received_ms: int, heartbeat_ms: int) -> Beat:
    """Ping after one silent interval of our own; the peer is dead after two and a half of its silence."""
    if now_ms - received_ms >= heartbeat_ms * 5 // 2:
        return Beat.DEAD
    if now_ms - sent_ms >= heartbeat_ms:
        return Beat.PING
    return Beat.REST
