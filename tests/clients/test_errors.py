"""Every code of the error table becomes an exception that says what the table says."""

from __future__ import annotations

import copy

import outlast
import pytest
from outlast.errors import OutlastError, Resync, from_codec, from_wire, is_fatal
from outlast_protocol import ERRORS, ErrorCode, Position, ProtocolError


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code(code: ErrorCode) -> None:
    error = from_wire(code, "the message", {"retry_after_ms": 7})
    traits = ERRORS[code]
    assert isinstance(error, OutlastError)
    assert (error.code, error.retryable, error.advice) == (code.name.lower(), traits.retryable, traits.advice)
    assert (error.message, error.retry_after_ms) == ("the message", 7)
    assert str(error) == f"{code.name.lower()}: the message ({traits.advice})"
    assert is_fatal(code) is traits.fatal


def test_a_code_of_a_later_version_is_final() -> None:
    error = from_wire(99, "new", {})
    assert type(error) is outlast.Refused
    assert (error.code, error.retryable, is_fatal(99)) == ("error_99", False, False)


@pytest.mark.parametrize(
    ("code", "kind", "detail", "attribute", "value"),
    [
        (ErrorCode.OFFSET_MISMATCH, outlast.OffsetMismatch, {"last": 9}, "last", 9),
        (ErrorCode.OFFSET_AHEAD, outlast.OffsetAhead, {"last": 9}, "last", 9),
        (ErrorCode.TRIMMED, outlast.Trimmed, {"first": 4}, "first", 4),
        (ErrorCode.STALE_EPOCH, outlast.StaleEpoch, {"epoch": "00c0ffee00c0ffee"}, "epoch", 0x00C0FFEE00C0FFEE),
        (ErrorCode.STALE_EPOCH, outlast.StaleEpoch, {"epoch": 5}, "epoch", 5),
        (ErrorCode.SEQUENCE_GAP, outlast.SequenceGap, {"expected": 3}, "expected", 3),
        (ErrorCode.READ_ONLY, outlast.ReadOnly, {"retry_after_ms": 5}, "retry_after_ms", 5),
        (ErrorCode.READ_ONLY, outlast.ReadOnly, {"retry_after_ms": "soon"}, "retry_after_ms", 0),
        (ErrorCode.FENCED, outlast.Fenced, {}, "retryable", False),
        (ErrorCode.LIMIT_EXCEEDED, outlast.LimitExceeded, {}, "code", "limit_exceeded"),
        (ErrorCode.BAD_CHECKSUM, outlast.BadData, {}, "retryable", True),
        (ErrorCode.UNKNOWN_CHANNEL, outlast.UnknownChannel, {}, "code", "unknown_channel"),
        (ErrorCode.FENCED, outlast.Fenced, {"token": 8}, "token", 8),
        (ErrorCode.UNKNOWN_MESSAGE, outlast.UnknownMessage, {"message": 4}, "message_id", 4),
        (ErrorCode.MESSAGE_CLOSED, outlast.MessageClosed, {"message": 4, "state": "complete"}, "state", "complete"),
        (ErrorCode.MESSAGE_CLOSED, outlast.MessageClosed, {"message": 4, "state": "open"}, "message_id", 4),
        (ErrorCode.FOREIGN_MESSAGE, outlast.ForeignMessage, {"message": 4, "client": "a"}, "client_id", "a"),
        (ErrorCode.FOREIGN_MESSAGE, outlast.ForeignMessage, {"message": 4, "client": "a"}, "lease", None),
        (ErrorCode.FOREIGN_MESSAGE, outlast.ForeignMessage, {"message": 4, "lease": "w"}, "lease", "w"),
        (ErrorCode.FOREIGN_MESSAGE, outlast.ForeignMessage, {"message": 4, "lease": "w"}, "message_id", 4),
        (ErrorCode.VERSION_MISMATCH, outlast.VersionMismatch, {"key": "k", "version": 3}, "key", "k"),
        (ErrorCode.VERSION_MISMATCH, outlast.VersionMismatch, {"key": "k", "version": 3}, "version", 3),
        (ErrorCode.NOT_A_NUMBER, outlast.NotANumber, {"key": "k"}, "key", "k"),
        (ErrorCode.NOT_A_NUMBER, outlast.NotANumber, {"key": 7}, "key", ""),
        (ErrorCode.LEASE_HELD, outlast.LeaseHeld, {"holder": "a", "retry_after_ms": 5}, "holder", "a"),
        (ErrorCode.LEASE_HELD, outlast.LeaseHeld, {"holder": "a", "retry_after_ms": 5}, "retry_after_ms", 5),
        (ErrorCode.UNAUTHORIZED, outlast.Unauthorized, {}, "retryable", False),
        (ErrorCode.TOKEN_EXPIRED, outlast.TokenExpired, {}, "code", "token_expired"),
        (ErrorCode.FORBIDDEN, outlast.Forbidden, {"verb": "history"}, "verb", "history"),
        (ErrorCode.DAMAGED, outlast.Damaged, {}, "code", "damaged"),
    ],
)
def test_what_users_handle_has_a_type(
    code: ErrorCode, kind: type[OutlastError], detail: dict[str, int | str], attribute: str, value: object
) -> None:
    error = from_wire(code, "", detail)
    assert type(error) is kind
    assert getattr(error, attribute) == value


def test_a_type_says_its_code_also_when_the_client_raises_it() -> None:
    assert outlast.StaleEpoch("x").code == "stale_epoch"
    assert outlast.GoingAway("x").retryable
    assert outlast.LimitExceeded("x").code == "limit_exceeded"
    assert outlast.TooLarge("x").code == "too_large"
    assert issubclass(outlast.TooLarge, outlast.LimitExceeded)


def test_copies_are_whole() -> None:
    error = from_wire(ErrorCode.OFFSET_MISMATCH, "m", {"last": 9})
    twin = copy.copy(error)
    assert twin is not error
    assert (str(twin), twin.code, twin.detail) == (str(error), error.code, {"last": 9})


def test_resync_says_from_where_it_goes_on() -> None:
    resync = Resync("trimmed", Position(0x00C0FFEE00C0FFEE, 50))
    assert "trimmed; the subscription goes on after 00c0ffee00c0ffee:50" in str(resync)
    assert "in its next life" in str(Resync("deleted"))
    assert resync.code == "resync"


def test_what_the_codec_finds_is_the_brokers_fault() -> None:
    error = from_codec(ProtocolError(ErrorCode.BAD_FRAME, "no"))
    assert isinstance(error, outlast.Violation)
    assert "bad_frame: no" in str(error)
