"""WebSocket as a load client needs it: frames that are masked with zeros, and a stream that is cut into payloads.

A key of zeros costs neither side anything: a little better than what a browser's frames cost the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from .link import LoadFailed

TEXT, BINARY = 0x81, 0x82
_SHORT, _LONG = Struct(">H"), Struct(">Q")
_SWITCHED = b"HTTP/1.1 101 "
_HEAD_END = b"\r\n\r\n"


def upgrade(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """A client's frame of at most 65,535 bytes."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + _SHORT.pack(size)
    return bytes([kind]) + length + bytes(4) + payload


class Frames:
    """Cuts what the server sends into payloads. Raises LoadFailed at a frame that is not whole, or of another kind."""

    def __init__(self, kind: int = TEXT) -> None:
        self._kind = kind
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data
        start, size = 0, len(data)
        while size - start >= 2:
            if data[start] != self._kind:
                raise LoadFailed(f"the server sent {data[start : start + 50]!r}")
            body, length = start + 2, data[start + 1]
            if length >= 126:
                body += 2 if length == 126 else 8
                if size < body:
                    break
                length = (_SHORT if length == 126 else _LONG).unpack_from(data, start + 2)[0]
            if size < body + length:
                break
            start = body + length
            yield data[body:start]
        self._rest = data[start:]


class Head:
    """The server's answer to the upgrade."""

    def __init__(self) -> None:
        self._head = b""
        self.is_read = False

    def after(self, data: bytes) -> bytes:
        """What of `data` follows the head. Raises LoadFailed when the server did not switch."""
        if self.is_read:
            return data
        self._head += data
        if _HEAD_END not in self._head:
            return b""
        if not self._head.startswith(_SWITCHED):
            raise LoadFailed(f"the server said {self._head[:200]!r}")
        self.is_read = True
        return self._head.partition(_HEAD_END)[2]
