"""EPHEMERAL: what is told to those who are here, and kept for nobody (PROTOCOL.md 6.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast_protocol.batch import KIND_RECORDS, check_batch, stamp
from outlast_protocol.frames import Ephemeral, encode

from .channel import Channel

if TYPE_CHECKING:
    from .connection import ClientConnection


def ephemeral(connection: ClientConnection, frame: Ephemeral) -> None:
    """Not refused while the broker is read-only: nothing is written."""
    channel = connection.opened_channel(frame.number)
    check_batch(frame.batch, connection.client, KIND_RECORDS)
    time_ms = max(connection.heard_ms, channel.last_ms)
    sent = _tell(channel, encode(Ephemeral(0, channel.number, stamp(frame.batch, 0, time_ms))))
    counters = connection.engine.counters
    counters.ephemeral_sent += sent
    counters.ephemeral_dropped += len(channel.readers) - sent


def _tell(channel: Channel, frame: bytes) -> int:
    """The same bytes to every live reader that has room for them; returns to how many.

    A reader that is behind has records to get first, and one without room would be made to fall behind by this.
    """
    size = len(frame)
    ready = [reader.connection for reader in channel.live if reader.connection.has_room(size)]
    for connection in ready:
        connection.send(frame)
    return len(ready)
