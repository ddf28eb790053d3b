"""A server that says back what it is told, over the broker's own reader of WebSocket frames.

The broker's door takes no text, and what it is told it does not repeat: so the cases that everybody's WebSocket is
measured by are run against this.
"""

from __future__ import annotations

import asyncio
from typing import cast

from outlast_broker.web.upgrade import accept
from outlast_broker.web.websocket import CloseCode, Message, Opcode, Reader, close_frame, frame_head

MESSAGE_BYTES_MAX = 1 << 24


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._head: bytes | None = b""
        self._reader = Reader(MESSAGE_BYTES_MAX, (Opcode.TEXT, Opcode.BINARY))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            lines = head.decode().split("\r\n")[1:]
            self._transport.write(accept({name: value for name, _, value in (line.partition(": ") for line in lines)}))
        for message in self._reader.receive(data):
            self._say_back(message)
        if self._reader.failure is not None:
            self._close(self._reader.failure.code)

    def _say_back(self, message: Message) -> None:
        opcode, data = message
        if opcode is Opcode.CLOSE:
            self._transport.write(frame_head(Opcode.CLOSE, len(data)) + data)
            self._transport.close()
        elif opcode is Opcode.TEXT and not is_text(data):
            self._close(CloseCode.BAD_TEXT)
        elif opcode is not Opcode.PONG:
            said = Opcode.PONG if opcode is Opcode.PING else opcode
            self._transport.write(frame_head(said, len(data)) + data)

    def _close(self, code: CloseCode) -> None:
        if not self._transport.is_closing():
            self._transport.write(close_frame(code))
            self._transport.close()


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
