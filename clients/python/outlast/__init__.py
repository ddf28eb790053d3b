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

from .attachment import Attachment, MessageChanged
from .channel import Channel
from .claim import Claim, ClaimSummary
from .client import Client, connect
from .cursor import Cursor
from .ephemeral import EphemeralMessage, Ephemerals
from .errors import (
    BadChannelName,
    BadData,
    BufferFull,
    ClaimHeld,
    Closed,
    ConnectFailed,
    ConnectionLost,
    Damaged,
    Fenced,
    Forbidden,
    ForeignMessage,
    GoingAway,
    LeaseHeld,
    LimitExceeded,
    MessageClosed,
    NotAnswered,
    NotANumber,
    NotDelivered,
    OffsetAhead,
    OffsetMismatch,
    OutlastError,
    Overloaded,
    RateLimited,
    ReadOnly,
    Refused,
    Resync,
    SequenceGap,
    StaleEpoch,
    TokenExpired,
    TooLarge,
    Trimmed,
    Unauthorized,
    UnknownChannel,
    UnknownCursor,
    UnknownMessage,
    VersionMismatch,
    Violation,
)
from .growing import Assembly, Content, GrowingMessage
from .inbox import Cancellation, Inbox, Request
from .lease import Lease, LeaseInfo
from .members import Member, MemberChanged, Occupied, PresenceCounts, PresenceEvent, PresenceSnapshot, Vacated
from .message import MessageWriter
from .presence import Membership, Presence, PresenceWatch
from .records import Ack, ChannelInfo, ChannelSummary, ConnectionInfo, Message, Record, Retention
from .replica import StateChanged, StateEntry, StateSnapshot
from .requests import Outcome
from .state import Delete, Increment, Set, SharedState
from .state_watch import StateWatch
from .subscription import Subscription

__all__ = [
    "Ack",
    "Assembly",
    "Attachment",
    "BadChannelName",
    "BadData",
    "BufferFull",
    "Cancellation",
    "Channel",
    "ChannelInfo",
    "ChannelSummary",
    "Claim",
    "ClaimHeld",
    "ClaimSummary",
    "Client",
    "Closed",
    "ConnectFailed",
    "ConnectionInfo",
    "ConnectionLost",
    "Content",
    "Cursor",
    "Damaged",
    "Data",
    "Delete",
    "EphemeralMessage",
    "Ephemerals",
    "Fenced",
    "Forbidden",
    "ForeignMessage",
    "GoingAway",
    "GrowingMessage",
    "Headers",
    "Inbox",
    "Increment",
    "Lease",
    "LeaseHeld",
    "LeaseInfo",
    "LimitExceeded",
    "Member",
    "MemberChanged",
    "Membership",
    "Message",
    "MessageChanged",
    "MessageClosed",
    "MessageWriter",
    "NotAnswered",
    "NotANumber",
    "NotDelivered",
    "Occupied",
    "OffsetAhead",
    "OffsetMismatch",
    "Outcome",
    "OutlastError",
    "Overloaded",
    "Position",
    "Presence",
    "PresenceCounts",
    "PresenceEvent",
    "PresenceSnapshot",
    "PresenceWatch",
    "RateLimited",
    "ReadOnly",
    "Record",
    "Refused",
    "Request",
    "Resync",
    "Retention",
    "SequenceGap",
    "Set",
    "SharedState",
    "StaleEpoch",
    "StateChanged",
    "StateEntry",
    "StateSnapshot",
    "StateWatch",
    "Subscription",
    "TokenExpired",
    "TooLarge",
    "Trimmed",
    "Unauthorized",
    "UnknownChannel",
    "UnknownCursor",
    "UnknownMessage",
    "Vacated",
    "VersionMismatch",
    "Violation",
    "connect",
]
