"""Everything that can go wrong, as types (PROTOCOL.md section 8).

`OutlastError` is the base. What the broker refuses arrives as the subclass for its code, or as `Refused`;
what the client itself says (`BufferFull`, `TooLarge`, `ClaimHeld`, `ConnectFailed`, `ConnectionLost`,
`Closed`, `Violation`) has a code of the same form. Wrong arguments are ValueError or TypeError, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from outlast_protocol import ERRORS, ErrorCode, Position, ProtocolError


class OutlastError(Exception):
    """`code` names the case, `detail` has the broker's current values, `advice` says what to do.

    `retryable` means that the same call may succeed later, unchanged.
    """

    code = "error"
    retryable = False
    advice = "read the message"

    def __init__(self, message: str = "", *, detail: Mapping[str, int | str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail: Mapping[str, int | str] = detail or {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.advice})"

    @property
    def retry_after_ms(self) -> int:
        """What the broker asked to wait, 0 when it did not say."""
        return self._number("retry_after_ms")

    def _number(self, key: str) -> int:
        value = self.detail.get(key, 0)
        return value if isinstance(value, int) else 0

    def _text(self, key: str) -> str:
        value = self.detail.get(key, "")
        return value if isinstance(value, str) else ""


class Refused(OutlastError):
    """The broker refused a request, for a reason that has no type of its own: see `code`."""


class BadData(Refused):
    """A batch's bytes are not acceptable, or not what they were when they left the publisher."""


class BadChannelName(Refused):
    """The broker does not accept the channel's name."""


class Unauthorized(Refused):
    """The broker does not believe the token, or there was none."""


class TokenExpired(Refused):
    """The token was good once."""


class Forbidden(Refused):
    """The token does not grant this: `verb` is what is missing."""

    @property
    def verb(self) -> str:
        return self._text("verb")


class UnknownChannel(Refused):
    """The channel does not exist, or does not any more."""


class OffsetMismatch(Refused):
    """`if_offset` did not hold; `last` is the channel's last offset."""

    @property
    def last(self) -> int:
        return self._number("last")


class OffsetAhead(Refused):
    """The offset is beyond the channel's `last`: no record that was ever delivered can be there."""

    @property
    def last(self) -> int:
        return self._number("last")


class StaleEpoch(Refused):
    """The position is of an earlier life of the channel; `epoch` is that of the present one."""

    @property
    def epoch(self) -> int:
        value = self.detail.get("epoch", 0)
        return int(value, 16) if isinstance(value, str) else value


class Trimmed(Refused):
    """What was asked for is past retention; `first` is the lowest offset that is left."""

    @property
    def first(self) -> int:
        return self._number("first")


class NotDelivered(Refused):
    """The cursor has not got as far in time; it stands at `offset`, 0 when nobody could say."""

    @property
    def offset(self) -> int:
        return self._number("offset")


class UnknownCursor(Refused):
    """The channel has no cursor of that name."""


class SequenceGap(Refused):
    """The broker has not seen the sequences before this one; it waits for `expected`."""

    @property
    def expected(self) -> int:
        return self._number("expected")


class Fenced(Refused):
    """Somebody newer is at it: a newer epoch of this producer, or the holder of a newer lease or claim.

    `token` is the highest that the channel has given, of a claim the one in force; 0 when there is none, and when the
    producer's epoch is the reason.
    """

    @property
    def token(self) -> int:
        return self._number("token")


class UnknownMessage(Refused):
    """No growing message was opened at that offset, or it is past retention."""

    @property
    def message_id(self) -> int:
        return self._number("message")


class MessageClosed(Refused):
    """The growing message does not allow this as it stands: `state` is the name of how it stands, "open" too."""

    @property
    def message_id(self) -> int:
        return self._number("message")

    @property
    def state(self) -> str:
        return self._text("state")


class ForeignMessage(Refused):
    """The growing message belongs to another client, or to a lease whose token was not given: the other one is None."""

    @property
    def message_id(self) -> int:
        return self._number("message")

    @property
    def client_id(self) -> str | None:
        return self._text("client") or None

    @property
    def lease(self) -> str | None:
        return self._text("lease") or None


class VersionMismatch(Refused):
    """The condition did not hold: `key` has another `version`, 0 when there is no such key."""

    @property
    def key(self) -> str:
        return self._text("key")

    @property
    def version(self) -> int:
        return self._number("version")


class NotANumber(Refused):
    """What `key` holds cannot be incremented, or the sum is beyond 2^53 - 1."""

    @property
    def key(self) -> str:
        return self._text("key")


class LeaseHeld(Refused):
    """Somebody else has the lease: `holder` is the client id.

    It lapses in `retry_after` seconds, unless it is renewed.
    """

    @property
    def holder(self) -> str:
        return self._text("holder")

    @property
    def retry_after(self) -> float:
        return self.retry_after_ms / 1000


class ClaimHeld(OutlastError):
    """Somebody else is at it: `holder` is the client id, `attempt` counts the grants, this one included.

    `retry_after` is in how many seconds the claim lapses, unless it is extended.
    """

    code = "claim_held"
    retryable = True
    advice = "wait `retry_after`, or claim with wait=True"

    @property
    def holder(self) -> str:
        return self._text("holder")

    @property
    def attempt(self) -> int:
        return self._number("attempt")

    @property
    def retry_after(self) -> float:
        return self.retry_after_ms / 1000


class LimitExceeded(Refused):
    """Above a limit of the broker, or of the protocol: `detail` has `limit` and `value`."""


class RateLimited(Refused):
    """Too much for a time. Requests that wait for an answer are made again by themselves."""


class Overloaded(Refused):
    """The broker has as many connections as it takes, all in all or of this client or address, and closed this one."""


class TooLarge(LimitExceeded):
    """What was published cannot be one batch, whatever else is waiting, or a claim's result is too long.

    Nothing was sent.
    """

    code = "too_large"
    advice = "split the data, or store it elsewhere and publish where it is"


class ReadOnly(Refused):
    """The broker takes no changes at present."""


class GoingAway(Refused):
    """The broker is about to stop."""


class Damaged(Refused):
    """Stored bytes fail their checksum."""


class BufferFull(OutlastError):
    """More is unacknowledged than `buffer_bytes` allows. Nothing was taken."""

    code = "buffer_full"
    retryable = True
    advice = "await earlier publishes, or raise buffer_bytes"


class ConnectFailed(OutlastError):
    """No connection to the broker."""

    code = "connect_failed"
    retryable = True
    advice = "start a broker with `outlast serve`, or give its address to connect() or in OUTLAST_URL"


class ConnectionLost(OutlastError):
    """The connection ended before the broker answered: the request may or may not have been done."""

    code = "connection_lost"
    retryable = True
    advice = "look at the channel, then decide whether to ask again"


class Closed(OutlastError):
    """The client is closed. A publish that fails so was not acknowledged, yet may have been stored."""

    code = "closed"
    advice = "keep the client open until everything is acknowledged"


class NotAnswered(OutlastError):
    """Nobody has answered in time. `request` is its number, 0 when not even its acknowledgement came.

    It stays open: it may still be answered, and be done.
    """

    code = "not_answered"
    advice = "wait on with channel.outcome(request), or withdraw it with channel.reject(request, why)"

    @property
    def request(self) -> int:
        return self._number("request")


class Violation(OutlastError):
    """The broker broke the protocol: the client drops the connection and goes on from what it has."""

    code = "protocol_violation"
    retryable = True
    advice = "report it with the versions of broker and client"


class Resync(OutlastError):
    """A subscription could not go on seamlessly. Iterate the same subscription again to go on.

    `reason` is "trimmed" (the next records are past retention), "recreated" (the channel was deleted
    and made anew) or "deleted" (it is gone; going on waits for its next life, from that one's start).
    `position` is the one after which it goes on, None for "deleted".
    """

    code = "resync"
    advice = "fetch what you show anew, then iterate the same subscription again"

    def __init__(self, reason: str = "", position: Position | None = None) -> None:
        where = "in its next life" if position is None else f"after {position}"
        super().__init__(f"the channel was {reason}; the subscription goes on {where}")
        self.reason = reason
        self.position = position


_TYPES: dict[ErrorCode, type[OutlastError]] = {
    ErrorCode.UNAUTHORIZED: Unauthorized,
    ErrorCode.TOKEN_EXPIRED: TokenExpired,
    ErrorCode.FORBIDDEN: Forbidden,
    ErrorCode.BAD_BATCH: BadData,
    ErrorCode.BAD_CHECKSUM: BadData,
    ErrorCode.UNSUPPORTED_KIND: BadData,
    ErrorCode.BAD_CHANNEL_NAME: BadChannelName,
    ErrorCode.UNKNOWN_CHANNEL: UnknownChannel,
    ErrorCode.OFFSET_AHEAD: OffsetAhead,
    ErrorCode.OFFSET_MISMATCH: OffsetMismatch,
    ErrorCode.STALE_EPOCH: StaleEpoch,
    ErrorCode.TRIMMED: Trimmed,
    ErrorCode.SEQUENCE_GAP: SequenceGap,
    ErrorCode.FENCED: Fenced,
    ErrorCode.LIMIT_EXCEEDED: LimitExceeded,
    ErrorCode.CURSOR_BEHIND: NotDelivered,
    ErrorCode.UNKNOWN_CURSOR: UnknownCursor,
    ErrorCode.UNKNOWN_MESSAGE: UnknownMessage,
    ErrorCode.MESSAGE_CLOSED: MessageClosed,
    ErrorCode.FOREIGN_MESSAGE: ForeignMessage,
    ErrorCode.VERSION_MISMATCH: VersionMismatch,
    ErrorCode.NOT_A_NUMBER: NotANumber,
    ErrorCode.LEASE_HELD: LeaseHeld,
    ErrorCode.RATE_LIMITED: RateLimited,
    ErrorCode.OVERLOADED: Overloaded,
    ErrorCode.READ_ONLY: ReadOnly,
    ErrorCode.GOING_AWAY: GoingAway,
    ErrorCode.DAMAGED: Damaged,
    ErrorCode.FRAME_TOO_LARGE: LimitExceeded,
}


def _describe(error: OutlastError | type[OutlastError], code: ErrorCode) -> None:
    """What the error table says of `code`."""
    traits = ERRORS[code]
    error.code, error.retryable, error.advice = code.name.lower(), traits.retryable, traits.advice


# Backwards, so that the first code of a type is the one that it has when the client itself raises it.
for _code, _type in reversed(_TYPES.items()):
    _describe(_type, _code)


def from_wire(code: int, message: str, detail: Mapping[str, int | str]) -> OutlastError:
    """The exception for an ERROR frame. A code that this version does not know is final."""
    try:
        known = ErrorCode(code)
    except ValueError:
        error: OutlastError = Refused(message, detail=detail)
        error.code = f"error_{code}"
        return error
    error = _TYPES.get(known, Refused)(message, detail=detail)
    _describe(error, known)
    return error


def is_fatal(code: int) -> bool:
    """Whether the broker closes the connection after an ERROR with this code."""
    return any(code == known and traits.fatal for known, traits in ERRORS.items())


def from_codec(error: ProtocolError) -> Violation:
    """What the codec found wrong with the broker's bytes."""
    return Violation(str(error), detail=error.detail)
