"""What channels, cursors, leases, claims, keys and clients may be called (PROTOCOL.md 6.1)."""

from __future__ import annotations

from functools import lru_cache

from outlast_protocol import ErrorCode, ProtocolError, limits


@lru_cache(maxsize=4_096)
def is_name(text: str, bytes_max: int) -> bool:
    """Remembered: the same few come again and again."""
    size = len(text.encode())
    return 1 <= size <= bytes_max and not any(each < " " or each == "\x7f" for each in text)


def check_name(what: str, text: str, bytes_max: int) -> None:
    """Raises `bad_body`. `what` says whose name it is, as in "a cursor's name"."""
    if len(text) > bytes_max or not is_name(text, bytes_max):
        rule = f"is 1 to {bytes_max} bytes of UTF-8, no control characters"
        raise ProtocolError(ErrorCode.BAD_BODY, f"{what} {rule}")


def check_channel_name(name: str) -> None:
    size = len(name.encode())
    if not 1 <= size <= limits.CHANNEL_NAME_BYTES_MAX:
        text = f"a channel's name has 1 to {limits.CHANNEL_NAME_BYTES_MAX} bytes, not {size}"
        raise ProtocolError(ErrorCode.BAD_CHANNEL_NAME, text)
    if not is_name(name, limits.CHANNEL_NAME_BYTES_MAX):
        raise ProtocolError(ErrorCode.BAD_CHANNEL_NAME, "a channel's name has no control characters")
