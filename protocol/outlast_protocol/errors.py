"""What can go wrong, once, for both ends (PROTOCOL.md section 8).

An error is data: a code, whether trying again can help, whether the connection ends, and what to do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class ErrorCode(IntEnum):
    """The number on the wire; the lower-case name is what people and clients read."""

    # Framing: the peer does not speak this protocol, so the connection ends.
    BAD_MAGIC = 1
    BAD_FRAME = 2
    FRAME_TOO_LARGE = 3
    UNKNOWN_FRAME = 4
    UNEXPECTED_FRAME = 5
    UNSUPPORTED_VERSION = 6
    HELLO_TIMEOUT = 7
    HEARTBEAT_TIMEOUT = 8
    # Who is there: the connection ends, too.
    UNAUTHORIZED = 9
    TOKEN_EXPIRED = 10
    # Requests: refused alone, the connection goes on.
    BAD_BODY = 20
    BAD_BATCH = 21
    BAD_CHECKSUM = 22
    UNSUPPORTED_KIND = 23
    BAD_CHANNEL_NAME = 24
    UNKNOWN_CHANNEL = 25
    ALREADY_SUBSCRIBED = 26
    NOT_SUBSCRIBED = 27
    OFFSET_AHEAD = 28
    OFFSET_MISMATCH = 29
    STALE_EPOCH = 30
    TRIMMED = 31
    SEQUENCE_GAP = 32
    FENCED = 33
    CREDIT_OVERFLOW = 34
    LIMIT_EXCEEDED = 35
    CLIENT_MISMATCH = 36
    CURSOR_BEHIND = 37
    UNKNOWN_CURSOR = 38
    UNKNOWN_MESSAGE = 39
    MESSAGE_CLOSED = 40
    FOREIGN_MESSAGE = 41
    VERSION_MISMATCH = 42
    NOT_A_NUMBER = 43
    LEASE_HELD = 44
    FORBIDDEN = 45
    RATE_LIMITED = 46
    OVERLOADED = 47
    # The broker's own state.
    READ_ONLY = 60
    GOING_AWAY = 61
    DAMAGED = 62
    INTERNAL = 63


class ErrorTraits(NamedTuple):
    """How a code is to be treated: `retryable` unchanged and later, `fatal` to the connection."""

    retryable: bool
    fatal: bool
    advice: str


ERRORS: dict[ErrorCode, ErrorTraits] = {
    ErrorCode.BAD_MAGIC: ErrorTraits(False, True, "connect with an Outlast client, or check the port"),
    ErrorCode.BAD_FRAME: ErrorTraits(False, True, "fix the sender: headers are described in section 3"),
    ErrorCode.FRAME_TOO_LARGE: ErrorTraits(False, True, "split the data; WELCOME states the limits"),
    ErrorCode.UNKNOWN_FRAME: ErrorTraits(False, True, "use only frames of the version in WELCOME"),
    ErrorCode.UNEXPECTED_FRAME: ErrorTraits(False, True, "send HELLO first, once, then only requests"),
    ErrorCode.UNSUPPORTED_VERSION: ErrorTraits(False, True, "upgrade the older of client and broker"),
    ErrorCode.HELLO_TIMEOUT: ErrorTraits(True, True, "send HELLO right after connecting"),
    ErrorCode.HEARTBEAT_TIMEOUT: ErrorTraits(True, True, "reconnect and resume"),
    ErrorCode.UNAUTHORIZED: ErrorTraits(False, True, "come with a token that this broker accepts"),
    ErrorCode.TOKEN_EXPIRED: ErrorTraits(False, True, "come again with a newer token"),
    ErrorCode.BAD_BODY: ErrorTraits(False, False, "compare the request with section 5"),
    ErrorCode.BAD_BATCH: ErrorTraits(False, False, "compare the batch with section 4"),
    ErrorCode.BAD_CHECKSUM: ErrorTraits(True, False, "send the batch again; it changed on its way"),
    ErrorCode.UNSUPPORTED_KIND: ErrorTraits(False, False, "use a batch kind that WELCOME's features name"),
    ErrorCode.BAD_CHANNEL_NAME: ErrorTraits(False, False, "use 1 to 255 bytes of UTF-8 without control characters"),
    ErrorCode.UNKNOWN_CHANNEL: ErrorTraits(False, False, "open it first: publishing and subscribing make it"),
    ErrorCode.ALREADY_SUBSCRIBED: ErrorTraits(False, False, "UNSUBSCRIBE first, or use a second connection"),
    ErrorCode.NOT_SUBSCRIBED: ErrorTraits(False, False, "SUBSCRIBE first"),
    ErrorCode.OFFSET_AHEAD: ErrorTraits(False, False, "ask for an offset up to `last`"),
    ErrorCode.OFFSET_MISMATCH: ErrorTraits(
        False, False, "read up to `last`, decide again, publish with if_offset=last"
    ),
    ErrorCode.STALE_EPOCH: ErrorTraits(False, False, "the channel was recreated: start again from `earliest`"),
    ErrorCode.TRIMMED: ErrorTraits(False, False, "start from `first`: what came before is past retention"),
    ErrorCode.SEQUENCE_GAP: ErrorTraits(True, False, "resend from sequence `expected` on, in order"),
    ErrorCode.FENCED: ErrorTraits(False, False, "somebody newer has taken this over: stop this one"),
    ErrorCode.CREDIT_OVERFLOW: ErrorTraits(False, False, "keep the sum of unused credit below 2^31 bytes"),
    ErrorCode.LIMIT_EXCEEDED: ErrorTraits(False, False, "stay below the limit that `limit` names"),
    ErrorCode.CLIENT_MISMATCH: ErrorTraits(False, False, "stamp batches with the client_id from WELCOME"),
    ErrorCode.CURSOR_BEHIND: ErrorTraits(True, False, "wait again, or go on without: it has reached `offset`"),
    ErrorCode.UNKNOWN_CURSOR: ErrorTraits(False, False, "list those that exist; acknowledging makes one"),
    ErrorCode.UNKNOWN_MESSAGE: ErrorTraits(
        False, False, "a message is named by the offset of the record that opened it"
    ),
    ErrorCode.MESSAGE_CLOSED: ErrorTraits(False, False, "open a new message; one that was interrupted can be reopened"),
    ErrorCode.FOREIGN_MESSAGE: ErrorTraits(False, False, "only its writer changes a message: its lease, or its client"),
    ErrorCode.VERSION_MISMATCH: ErrorTraits(False, False, "read the value at `version`, decide again"),
    ErrorCode.NOT_A_NUMBER: ErrorTraits(False, False, "set the key to a whole number within 2^53 first"),
    ErrorCode.LEASE_HELD: ErrorTraits(True, False, "wait `retry_after_ms`, or take it over"),
    ErrorCode.FORBIDDEN: ErrorTraits(False, False, "come with a token that grants it"),
    ErrorCode.RATE_LIMITED: ErrorTraits(True, False, "wait `retry_after_ms`, then ask again, less often"),
    ErrorCode.OVERLOADED: ErrorTraits(True, True, "reconnect after `retry_after_ms`"),
    ErrorCode.READ_ONLY: ErrorTraits(True, False, "free disk space or trim channels; publishing resumes by itself"),
    ErrorCode.GOING_AWAY: ErrorTraits(True, False, "reconnect after `retry_after_ms`"),
    ErrorCode.DAMAGED: ErrorTraits(False, False, "stored bytes fail their checksum: restore them from a backup"),
    ErrorCode.INTERNAL: ErrorTraits(True, True, "reconnect; the broker's log has the cause"),
}


class ProtocolError(Exception):
    """A refusal. `detail` holds the current values that the error table promises for its code."""

    def __init__(self, code: ErrorCode, message: str, /, **detail: int | str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail

    @property
    def name(self) -> str:
        return self.code.name.lower()

    @property
    def retryable(self) -> bool:
        return ERRORS[self.code].retryable

    @property
    def fatal(self) -> bool:
        return ERRORS[self.code].fatal

    @property
    def advice(self) -> str:
        return ERRORS[self.code].advice

    def __str__(self) -> str:
        return f"{self.name}: {self.message} ({self.advice})"
