"""Outlast's client: publish, leave, come back, get exactly the rest.

    import asyncio, outlast

    async def main() -> None:
        async with outlast.connect("outlast://127.0.0.1:6180", client_id="agent") as client:
            channel = client.channel("session:42")
            ack = await channel.publish("Hello", name="token")  # on disk, with its offset
            async for record in channel.subscribe(start="earliest"):
                print(record.position, record.name, record.data)  # store str(record.position) to resume
                if record.offset == ack.offset:
                    break

    asyncio.run(main())

What may be relied on:

- A publish that was acknowledged is on disk. One that was not is kept and sent again under its sequence
  over any number of connections, and stored once. If the channel is deleted and made anew meanwhile, the
  broker forgets which sequences it has seen, and the message is published into the new life.
- A subscription hands over each record once, in order, without holes. Where that is impossible it raises
  Resync; iterating it again goes on.
- The connection comes back by itself. Only `connect` gives up, after its `timeout`; put other calls under
  `asyncio.timeout` where they must not wait for a broker to return.
"""

from __future__ import annotations

from outlast_protocol import Data, Headers, Position

from .channel import Channel
from .client import Client, connect
from .cursor import Cursor
from .errors import (
    BadChannelName,
    BadData,
    BufferFull,
    Closed,
    ConnectFailed,
    ConnectionLost,
    Damaged,
    Fenced,
    ForeignMessage,
    GoingAway,
    LeaseHeld,
    LimitExceeded,
    MessageClosed,
    NotANumber,
    NotDelivered,
    OffsetAhead,
    OffsetMismatch,
    OutlastError,
    ReadOnly,
    Refused,
    Resync,
    SequenceGap,
    StaleEpoch,
    TooLarge,
    Trimmed,
    UnknownChannel,
    UnknownCursor,
    UnknownMessage,
    VersionMismatch,
    Violation,
)
from .lease import Lease, LeaseInfo
from .records import Ack, ChannelInfo, ChannelSummary, Message, Record, Retention
from .subscription import Subscription

__all__ = [
    "Ack",
    "BadChannelName",
    "BadData",
    "BufferFull",
    "Channel",
    "ChannelInfo",
    "ChannelSummary",
    "Client",
    "Closed",
    "ConnectFailed",
    "ConnectionLost",
    "Cursor",
    "Damaged",
    "Data",
    "Fenced",
    "ForeignMessage",
    "GoingAway",
    "Headers",
    "Lease",
    "LeaseHeld",
    "LeaseInfo",
    "LimitExceeded",
    "Message",
    "MessageClosed",
    "NotANumber",
    "NotDelivered",
    "OffsetAhead",
    "OffsetMismatch",
    "OutlastError",
    "Position",
    "ReadOnly",
    "Record",
    "Refused",
    "Resync",
    "Retention",
    "SequenceGap",
    "StaleEpoch",
    "Subscription",
    "TooLarge",
    "Trimmed",
    "UnknownChannel",
    "UnknownCursor",
    "UnknownMessage",
    "VersionMismatch",
    "Violation",
    "connect",
]
