"""Outlast's doors for browsers: agents publish over TCP as ever, readers come by WebSocket or read server-sent events.

The frames in a WebSocket's messages are those of TCP. Events are counted by how a record's begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import cast
from urllib.parse import quote

from ..lane import Lane
from ..link import Load, LoadFailed, Reader
from ..websocket import BINARY, Frames, Head, frame, upgrade
from .outlast import Outlast, OutlastReader

_RECORD = b'\ndata: {"offset"'
_ATTACHED = b"\nevent: attached"
_OK = b"HTTP/1.1 200 "


class Masked:
    """A transport for whoever speaks the native protocol: each write is a message."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.abort = self._transport.abort

    def write(self, data: bytes) -> None:
        self._transport.write(frame(data, BINARY))


class WebSocketReader(OutlastReader):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(upgrade("/v1/ws"))
        self.transport = cast(asyncio.Transport, Masked(transport))
        self._head, self._messages = Head(), Frames(BINARY)

    def data_received(self, data: bytes) -> None:
        try:
            if not self._head.is_read:
                data = self._head.after(data)
                if self._head.is_read:
                    self.greet()
            for payload in self._messages.feed(data):
                super().data_received(payload)
        except LoadFailed as error:
            self.load.fail(error)


class EventsReader(Reader):
    """One channel for each connection."""

    def greet(self) -> None:
        self._head = self._rest = b""
        where = f"start={self.start}" if isinstance(self.start, str) else f"after={self.start}"
        channel = quote(self.lanes[0].name, safe="")
        self.transport.write(
            f"GET /v1/channels/{channel}/events?{where}&create=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._head += data
            if not self._head.startswith(_OK[: len(self._head)]):
                self.load.fail(LoadFailed(f"the broker said {self._head[:200]!r}"))
            if _ATTACHED not in self._head:
                return
            self.opened()
            data = self._head
        data = self._rest + data
        self._rest = data[1 - len(_RECORD) :]
        if count := data.count(_RECORD):
            self.feeds[0].deliver(count, perf_counter())


class OutlastWebSocket(Outlast):
    name = "outlast-ws"

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> WebSocketReader:
        return WebSocketReader(load, lanes, start)


class OutlastEvents(Outlast):
    name = "outlast-sse"
    unfit: Mapping[str, str] = dict.fromkeys(
        ("sessions_10k", "startup", "growth", "trimmed"), "a stream of events is one channel's"
    )

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> EventsReader:  # type: ignore[override]
        return EventsReader(load, lanes, start)
