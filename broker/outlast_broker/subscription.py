"""One reader of one channel on one connection: where it stands and what it may be sent (PROTOCOL.md 6.5, 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CREDIT_BYTES_MAX

from .session import Snapshot

if TYPE_CHECKING:
    from .channel import Channel
    from .connection import ClientConnection


class Subscription:
    """`next` is the offset to deliver next; while live it is always the channel's last + 1 and not kept up."""

    __slots__ = ("channel", "connection", "credit", "next", "snapshot")

    def __init__(self, connection: ClientConnection, channel: Channel, after: int, credit: int) -> None:
        self.connection = connection
        self.channel = channel
        self.next = after + 1
        self.credit = credit
        # Up to where it goes the log is delivered folded.
        self.snapshot: Snapshot | None = None

    @property
    def live(self) -> bool:
        return self in self.channel.live

    def begin(self) -> None:
        """It is one of the channel's readers from now on."""
        self.channel.readers.add(self)
        self.connection.engine.crowd.subscriptions += 1

    def grant(self, credit: int) -> None:
        if self.credit + credit > CREDIT_BYTES_MAX:
            text = f"{credit} bytes of credit on top of {self.credit} pass {CREDIT_BYTES_MAX}"
            raise ProtocolError(ErrorCode.CREDIT_OVERFLOW, text)
        self.credit += credit

    def go_live(self) -> None:
        self.snapshot = None
        self.connection.engine.crowd.live += not self.live
        self.channel.live[self] = None
        self.connection.behind.pop(self, None)

    def go_on(self) -> None:
        """Asks to be served from the log, as long as there is credit for it."""
        if self.credit > 0:
            self.connection.behind[self] = None

    def fall_behind(self, offset: int) -> None:
        """From `offset` on the log serves this reader, at its own pace."""
        del self.channel.live[self]
        self.connection.engine.crowd.live -= 1
        self.connection.engine.counters.fallen_behind += 1
        self.next = offset
        self.go_on()

    def end(self) -> None:
        crowd = self.connection.engine.crowd
        crowd.live -= self.live
        crowd.subscriptions -= self in self.channel.readers
        self.channel.live.pop(self, None)
        self.channel.readers.discard(self)
        self.connection.behind.pop(self, None)
