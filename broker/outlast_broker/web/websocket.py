"""RFC 6455 without any I/O: bytes of a client in, its messages out, and the rules of who may say what.

`Reader` judges a frame by its first bytes, before memory is set aside for the rest of it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Those that the broker says (PROTOCOL.md 3.6)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    BAD_TEXT = 1007
    TOO_BIG = 1009


class Message(NamedTuple):
    """What a client said: text or binary whole, or one of the control frames."""

    opcode: Opcode
    data: bytes


class WebSocketError(Exception):
    """The connection ends with this code."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


CONTROL_BYTES_MAX = 125
# With four bytes of mask, which a client's frame always has.
_HEAD_BYTES = {126: 8, 127: 14}
_SHORT_HEAD_BYTES = 6
_DATA = (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY)
_OPCODES = {int(opcode): opcode for opcode in Opcode}
_FIN, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80


def frame_head(opcode: Opcode, length: int) -> bytes:
    """What goes before the payload of a whole message from the broker: it masks nothing."""
    if length <= CONTROL_BYTES_MAX:
        return bytes((_FIN | opcode, length))
    if length < 1 << 16:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big")


def close_frame(code: int, reason: str = "") -> bytes:
    body = code.to_bytes(2, "big") + reason.encode()[: CONTROL_BYTES_MAX - 2]
    return frame_head(Opcode.CLOSE, len(body)) + body


def unmask(payload: bytes, mask: bytes) -> bytes:
    """One XOR of two big numbers: C does it, whatever the length."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class Reader:
    """Feed it bytes, take messages. After `failure` is set, or a CLOSE was read, it reads no further."""

    __slots__ = ("_bytes_max", "_closed", "_kind", "_need", "_parts", "_taken", "_waiting", "failure")

    def __init__(self, bytes_max: int, taken: tuple[Opcode, ...] = (Opcode.BINARY,)) -> None:
        self._bytes_max = bytes_max
        self._taken = taken
        self.failure: WebSocketError | None = None
        self._closed = False
        # The beginning of a frame, and how many bytes it needs to go on.
        self._waiting = bytearray()
        self._need = 2
        # The fragments so far of a message of this kind.
        self._kind: Opcode | None = None
        self._parts = bytearray()

    def receive(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. On an error: those before it, and `failure` is set."""
        messages: list[Message] = []
        if self._closed or self.failure is not None:
            return messages
        if self._waiting:
            self._waiting += data
            if len(self._waiting) < self._need:
                return messages
            data = bytes(self._waiting)
            self._waiting = bytearray()
        try:
            start = self._split(data, messages)
            if start < len(data):
                self._waiting += data[start:]
        except WebSocketError as error:
            self.failure = error
        return messages

    def _split(self, data: bytes, messages: list[Message]) -> int:
        """Takes every whole frame of `data`; returns where the rest begins."""
        start = 0
        while not self._closed:
            end = self._whole(data, start)
            if not end:
                break
            first, head_bytes = data[start], _HEAD_BYTES.get(data[start + 1] & 0x7F, _SHORT_HEAD_BYTES)
            body = start + head_bytes
            payload = unmask(data[body:end], data[body - 4 : body])
            self._take(_OPCODES[first & _OPCODE], bool(first & _FIN), payload, messages)
            start = end
        return len(data) if self._closed else start

    def _whole(self, data: bytes, start: int) -> int:
        """Where the frame at `start` ends, 0 if more must come first. Raises WebSocketError."""
        size = len(data) - start
        self._need = 2
        if size < 2:
            return 0
        opcode = self._judge(data[start], data[start + 1])
        length = data[start + 1] & 0x7F
        self._need = head_bytes = _HEAD_BYTES.get(length, _SHORT_HEAD_BYTES)
        if size < head_bytes:
            return 0
        if length > CONTROL_BYTES_MAX:
            length = int.from_bytes(data[start + 2 : start + head_bytes - 4], "big")
        if opcode in _DATA and len(self._parts) + length > self._bytes_max:
            raise WebSocketError(CloseCode.TOO_BIG, f"a message has at most {self._bytes_max} bytes")
        self._need = head_bytes + length
        return start + self._need if size >= self._need else 0

    def _judge(self, first: int, second: int) -> Opcode:
        """Every rule about a frame that its first two bytes tell."""
        opcode = _OPCODES.get(first & _OPCODE)
        if opcode is None or first & _RESERVED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "an opcode or a bit that is not in use")
        if not second & _MASKED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a client masks its frames")
        if opcode not in _DATA and (not first & _FIN or second & 0x7F > CONTROL_BYTES_MAX):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a control frame is whole and has at most 125 bytes")
        if opcode in _DATA and (opcode is Opcode.CONTINUATION) != (self._kind is not None):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "fragments of messages do not mix")
        if opcode in _DATA[1:] and opcode not in self._taken:
            raise WebSocketError(CloseCode.UNSUPPORTED, f"{opcode.name.lower()} messages are not taken here")
        return opcode

    def _take(self, opcode: Opcode, whole: bool, payload: bytes, messages: list[Message]) -> None:
        if opcode not in _DATA:
            if opcode is Opcode.CLOSE:
                _check_close(payload)
                self._closed = True
            messages.append(Message(opcode, payload))
        elif whole and self._kind is None:
            messages.append(Message(opcode, payload))
        else:
            self._kind = self._kind or opcode
            self._parts += payload
            if whole:
                messages.append(Message(self._kind, bytes(self._parts)))
                self._kind, self._parts = None, bytearray()


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    said = code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
    if len(payload) == 1 or not said:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "no code that may be said")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError(CloseCode.BAD_TEXT, "the reason is not UTF-8") from None
