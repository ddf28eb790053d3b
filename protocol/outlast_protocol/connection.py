"""One end of a connection without any I/O: bytes in, frames out, and the rules of who may say what when.

The verbs are `receive` (bytes from the peer), `send` (a frame for the peer, as bytes) and `close`.
This file does not know which role it plays except through TRANSITIONS, so both ends are judged alike.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import Any

from .errors import ErrorCode, ProtocolError
from .frames import (
    BY_CLASS,
    BY_NUMBER,
    BYTES_MIN,
    HEADER_BYTES,
    SPECS,
    Error,
    Frame,
    FrameSpec,
    GoAway,
    Hello,
    Malformed,
    Role,
    Welcome,
    encode,
)
from .limits import FRAME_BYTES_MAX


class State(Enum):
    """CONNECTING -> GREETED -> OPEN -> LEAVING -> CLOSED; FAILED from anywhere."""

    CONNECTING = "connecting"
    GREETED = "greeted"
    OPEN = "open"
    LEAVING = "leaving"
    CLOSED = "closed"
    FAILED = "failed"


# What a frame does to the connection. One in no row is allowed while OPEN or LEAVING and changes nothing.
TRANSITIONS: dict[type[Any], dict[State, State]] = {
    Hello: {State.CONNECTING: State.GREETED},
    Welcome: {State.GREETED: State.OPEN},
    GoAway: {State.OPEN: State.LEAVING, State.LEAVING: State.LEAVING},
    Error: {state: state for state in (State.CONNECTING, State.GREETED, State.OPEN, State.LEAVING)},
}
_TALKING = (State.OPEN, State.LEAVING)
_PLAIN: dict[Role, dict[int, FrameSpec]] = {
    role: {spec.number: spec for spec in SPECS if spec.sender & role and spec.cls not in TRANSITIONS}
    for role in (Role.CLIENT, Role.BROKER)
}
# A header whose flags and reserved bytes are zero reads as its length and its type.
_LENGTH_AND_TYPE = Struct("<II")


class Connection:
    """Feed it bytes, take frames from it. After `failure` is set it reads no further."""

    __slots__ = ("_need", "_peer", "_waiting", "failure", "role", "state")

    def __init__(self, role: Role) -> None:
        self.role = role
        self._peer = Role.BROKER if role is Role.CLIENT else Role.CLIENT
        self.state = State.CONNECTING
        self.failure: ProtocolError | None = None
        # The beginning of a frame. One buffer, not a list: the peer chooses how small its pieces are.
        self._waiting = bytearray()
        self._need = HEADER_BYTES

    def receive(self, data: bytes) -> list[Frame | Malformed]:
        """The frames that `data` completes. On a fatal error: those before it, and `failure` is set."""
        if self.state is State.FAILED or self.state is State.CLOSED:
            return []
        if self._waiting:
            self._waiting += data
            if len(self._waiting) < self._need:
                return []
            data = bytes(self._waiting)
            self._waiting = bytearray()
        frames: list[Frame | Malformed] = []
        try:
            start = self._split(data, frames)
            if start < len(data):
                self._waiting += data[start:]
        except ProtocolError as error:
            self.failure = error
            self.state = State.FAILED
        return frames

    @property
    def within_frame(self) -> bool:
        """Whether the beginning of a frame waits for its rest."""
        return bool(self._waiting)

    def send(self, frame: Frame) -> bytes:
        """The bytes of `frame`, which must be ours to send in this state."""
        self._check(type(frame), self.role)
        data = encode(frame)
        self._move(type(frame))
        return data

    def close(self) -> None:
        self.state = State.CLOSED

    def _split(self, data: bytes, frames: list[Frame | Malformed]) -> int:
        """Decodes every whole frame of `data`; returns where the rest begins."""
        start, size = 0, len(data)
        header = _LENGTH_AND_TYPE.unpack_from
        plain = self._plain()
        self._need = HEADER_BYTES
        while size - start >= HEADER_BYTES:
            length, number = header(data, start)
            spec = plain.get(number)
            if spec is None or not BYTES_MIN[number] <= length <= spec.bytes_max:
                spec = self._examine(length, number)
            end = start + length
            if end > size:
                self._need = length
                return start
            frame = spec.decode(data, start, end)
            frames.append(frame)
            start = end
            if number not in plain:
                self._move(type(frame))
                plain = self._plain()
        return start

    def _plain(self) -> dict[int, FrameSpec]:
        """The frames that may come now and change nothing: nearly all that ever come."""
        return _PLAIN[self._peer] if self.state in _TALKING else {}

    def _examine(self, length: int, word: int) -> FrameSpec:
        """Every rule of PROTOCOL.md 3.1 and 3.3; `word` is the type with flags and reserved bytes above it."""
        number, reserved = word & 0xFF, word >> 8
        spec = BY_NUMBER.get(number)
        if reserved or spec is None or not BYTES_MIN[number] <= length <= spec.bytes_max:
            raise self._refusal(length, number, reserved)
        self._check(spec.cls, self._peer)
        return spec

    def _check(self, cls: type[Any], sender: Role) -> None:
        """Refuses a frame that TRANSITIONS or its sender do not allow here (PROTOCOL.md 3.3)."""
        row = TRANSITIONS.get(cls)
        allowed = self.state in row if row else self.state in _TALKING
        if not allowed or not BY_CLASS[cls].sender & sender:
            text = f"{cls.__name__.upper()} from the {sender.name} is out of place while {self.state.value}"
            raise ProtocolError(ErrorCode.UNEXPECTED_FRAME, text)

    def _move(self, cls: type[Any]) -> None:
        if cls in TRANSITIONS:
            self.state = TRANSITIONS[cls][self.state]

    def _refusal(self, length: int, number: int, reserved: int) -> ProtocolError:
        spec = BY_NUMBER.get(number)
        if self.state is State.CONNECTING and (spec is None or spec.cls is not Hello):
            return ProtocolError(ErrorCode.BAD_MAGIC, "the first frame is not HELLO")
        if reserved:
            return ProtocolError(ErrorCode.BAD_FRAME, "flags and reserved bytes of a header must be zero")
        if spec is None:
            return ProtocolError(ErrorCode.UNKNOWN_FRAME, f"there is no frame 0x{number:02x}", type=number)
        limit = min(spec.bytes_max, FRAME_BYTES_MAX)
        if length > limit:
            text = f"{spec.cls.__name__.upper()} of {length} bytes, allowed are {limit}"
            return ProtocolError(ErrorCode.FRAME_TOO_LARGE, text, limit=limit)
        return ProtocolError(ErrorCode.BAD_FRAME, f"{spec.cls.__name__.upper()} cannot be {length} bytes short")
