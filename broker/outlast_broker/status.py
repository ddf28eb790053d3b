"""STATUS and CONNECTIONS: what the broker is and does, and who is connected (PROTOCOL.md 6.16)."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode, ProtocolError, frames as f

from . import clock
from .configuration.quantities import show_bytes, show_count
from .greeting import SERVER

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .engine import Engine

CONNECTIONS_MAX = 1_000
# What of the counters STATUS promises; `/metrics` has all of them.
COUNTS = (
    "connections_opened", "bytes_in", "bytes_out", "records_in", "commits", "deliveries", "duplicates", "refused",
    "resyncs", "damaged", "fallen_behind", "ephemeral_sent", "ephemeral_dropped",
)  # fmt: skip
_PAGE_BYTES = resource.getpagesize()


def status(connection: ClientConnection, frame: f.Status) -> None:
    connection.reply(frame.request, status_of(connection.engine))


def status_of(engine: Engine) -> dict[str, Any]:
    crowd, measures, store = engine.crowd, engine.measures, engine.log.stats()
    return {
        "server": SERVER,
        "started_ms": engine.started_ms,
        "time_ms": clock.now_ms(),
        "leaving": engine.leaving,
        "refusing": refusing(engine),
        **{f"connections_{door}": count for door, count in crowd.by_door.items()},
        "channels": store.channels,
        "channels_loaded": len(engine.hub),
        "subscriptions": crowd.subscriptions,
        "subscriptions_behind": crowd.behind,
        **{name: getattr(engine.counters, name) for name in COUNTS},
        "backlog_bytes": engine.backlog_bytes,
        "waiting_bytes": engine.debts.all_bytes,
        "commit_p50_us": measures.commit_us.recent(0.5),
        "commit_p99_us": measures.commit_us.recent(0.99),
        "publish_p50_us": measures.publish_us.recent(0.5),
        "publish_p99_us": measures.publish_us.recent(0.99),
        "loop_lag_p99_us": measures.loop_lag_us.recent(0.99),
        "store_used_bytes": store.used_bytes,
        "store_map_bytes": store.map_bytes,
        "journal_bytes": store.journal_bytes,
        "disk_free_bytes": engine.disk_free_bytes,
        "memory_bytes": memory_bytes(),
    }


def headline(engine: Engine) -> str:
    """The few words that an operator looks for first."""
    crowd = engine.crowd
    counts = {
        show_count(sum(crowd.by_door.values()), "connection"): True,
        show_count(engine.log.stats().channels, "channel"): True,
        show_count(crowd.subscriptions, "subscription"): True,
        f"{show_count(crowd.behind)} behind": crowd.behind,
        f"{show_bytes(engine.backlog_bytes)} wait for the disk": engine.backlog_bytes,
    }
    return ", ".join([refusing(engine)] * bool(refusing(engine)) + [text for text, holds in counts.items() if holds])


def refusing(engine: Engine) -> str:
    """Why it takes no changes now; "" if it does."""
    refusal = engine.refusal
    return "" if refusal is None else f"{refusal.name}: {refusal.message}"


def memory_bytes() -> int:
    """What this process holds of the machine's memory."""
    with open("/proc/self/statm", "rb") as stated:
        return int(stated.read().split()[1]) * _PAGE_BYTES


def connections(connection: ClientConnection, frame: f.Connections) -> None:
    if not 1 <= frame.limit <= CONNECTIONS_MAX:
        raise ProtocolError(ErrorCode.BAD_BODY, f"limit is {frame.limit}, allowed are 1 to {CONNECTIONS_MAX}")
    found = list(connection.engine.crowd.page(frame.after, frame.limit + 1))
    rows = [_row(each) for each in found[: frame.limit]]
    connection.reply(frame.request, {"connections": rows, "more": len(found) > frame.limit})


def _row(connection: ClientConnection) -> dict[str, Any]:
    return {
        "id": connection.id,
        "client_id": connection.client.decode(),
        "agent": connection.agent,
        "door": connection.door,
        "address": connection.address,
        "since_ms": connection.since_ms,
        "channels": len(connection.channels),
        "subscriptions": len(connection.subscriptions),
        "behind": sum(not reader.live for reader in connection.subscriptions.values()),
        "waiting_bytes": connection.waiting_bytes,
    }
