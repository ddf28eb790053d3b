"""What a client can be told, checked before any I/O."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from outlast_protocol.limits import CHANNEL_NAME_BYTES_MAX, CLIENT_ID_BYTES_MAX
from outlast_protocol.operations import WHOLE_MAX
from outlast_protocol.position import EPOCH_MAX

from .address import Address
from .backoff import Pace
from .token import TokenSource

TTL_S_MAX = WHOLE_MAX // 1000
LinkState: TypeAlias = Literal["connecting", "open", "waiting", "closed"]
OnState: TypeAlias = Callable[[LinkState, str], object]
WhenFull: TypeAlias = Literal["wait", "raise"]


@dataclass(frozen=True, slots=True)
class Options:
    """`outlast.connect` explains them."""

    address: Address
    client_id: str | None
    producer: tuple[int, int]
    token: TokenSource = field(repr=False)
    timeout: float | None
    close_timeout: float
    buffer_bytes: int
    when_full: WhenFull
    heartbeat_ms: int
    pace: Pace
    on_state: OnState | None
    ssl_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.client_id is not None:
            _check_client_id(self.client_id)
        for number in self.producer:
            check_whole("each part of producer", number, 0, EPOCH_MAX)
        if len(self.producer) != 2:
            raise ValueError("producer is (id, epoch)")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"timeout is {self.timeout} s, expected more than 0, or None to wait for ever")
        if self.close_timeout < 0:
            raise ValueError(f"close_timeout is {self.close_timeout} s, expected 0 or more")
        if self.when_full not in ("wait", "raise"):
            raise ValueError(f'when_full is {self.when_full!r}, expected "wait" or "raise"')
        if self.ssl_context is not None and not self.address.tls:
            raise ValueError(f"ssl_context is for outlasts:// addresses, {self.address.url} is without TLS")
        check_whole("buffer_bytes", self.buffer_bytes, 1)
        check_whole("heartbeat_ms", self.heartbeat_ms, 1)
        check_whole("backoff_base_ms", self.pace.base_ms, 1)
        check_whole("backoff_cap_ms", self.pace.cap_ms, self.pace.base_ms)


def check_whole(what: str, value: object, lowest: int, highest: int | None = None) -> int:
    """`value` if it is a whole number within the bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is {type(value).__name__}, expected a whole number")
    if value < lowest or (highest is not None and value > highest):
        bounds = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
        raise ValueError(f"{what} is {value}, expected {bounds}")
    return value


def ttl_ms_from(ttl: float | None) -> int:
    """Seconds as ms, 0 for None: for ever."""
    if ttl is None:
        return 0
    if not isinstance(ttl, int | float) or isinstance(ttl, bool):
        raise TypeError(f"ttl is {type(ttl).__name__}, expected seconds as a number")
    if not 0 < ttl <= TTL_S_MAX:
        raise ValueError(f"ttl is {ttl} s, expected more than 0 and at most {TTL_S_MAX}, or None: for ever")
    return max(round(ttl * 1000), 1)


def check_channel_name(name: object) -> str:
    """`name` if it is 1 to 255 bytes of UTF-8 without control characters (PROTOCOL.md 6.1)."""
    if not isinstance(name, str):
        raise TypeError(f"a channel's name is text, not {type(name).__name__}")
    size = _utf8_bytes("a channel's name", name)
    if not 1 <= size <= CHANNEL_NAME_BYTES_MAX:
        raise ValueError(f"the channel's name has {size} bytes, expected 1 to {CHANNEL_NAME_BYTES_MAX}")
    if any(letter < "\x20" or letter == "\x7f" for letter in name):
        raise ValueError(f"the channel's name {name!r} has a control character: leave it out")
    return name


def check_name(what: str, name: object, bytes_max: int) -> str:
    """`name` if it is so many bytes of UTF-8 at most, without control characters. `what`: as in "a lease's name"."""
    if not isinstance(name, str):
        raise TypeError(f"{what} is text, not {type(name).__name__}")
    size = _utf8_bytes(what, name)
    if not 1 <= size <= bytes_max:
        raise ValueError(f"{what} has 1 to {bytes_max} bytes of UTF-8, not {size}")
    if any(letter < "\x20" or letter == "\x7f" for letter in name):
        raise ValueError(f"{what} has no control characters: {name!r}")
    return name


def _check_client_id(client_id: object) -> None:
    if not isinstance(client_id, str):
        raise TypeError(f"client_id is {type(client_id).__name__}, expected text")
    size = _utf8_bytes("client_id", client_id)
    if not 1 <= size <= CLIENT_ID_BYTES_MAX:
        raise ValueError(f"client_id has {size} bytes of UTF-8, expected 1 to {CLIENT_ID_BYTES_MAX}")


def _utf8_bytes(what: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a lone surrogate, which UTF-8 cannot say: {text!r}") from None
