"""What increment does to a value: the same for the broker, which judges, and for readers (PROTOCOL.md 4.6)."""

from __future__ import annotations

import re

from .batch import Encoding
from .errors import ErrorCode, ProtocolError
from .operations import WHOLE_MAX

# Sixteen digits hold WHOLE_MAX; a longer run is never made into a number, however long it is.
_WHOLE = re.compile(rb"[ \t\n\r]*(-?(?:0|[1-9][0-9]{0,15}))[ \t\n\r]*")


def read_whole(encoding: int, data: bytes) -> int | None:
    """The whole number within ±(2^53 - 1) that a value is in JSON; None when it is anything else.

    A number with a fraction or an exponent is none, whatever it amounts to: languages differ in what they make of it.
    """
    match = _WHOLE.fullmatch(data) if encoding == Encoding.JSON else None
    number = int(match[1]) if match else None
    return number if number is not None and abs(number) <= WHOLE_MAX else None


def increased(key: str, number: int, by: int) -> int:
    """Raises `not_a_number` for a sum that not every language holds exactly."""
    total = number + by
    if abs(total) > WHOLE_MAX:
        text = f"{number} of key {key!r} and {by} add up to more than 2^53 - 1"
        raise ProtocolError(ErrorCode.NOT_A_NUMBER, text, key=key)
    return total
