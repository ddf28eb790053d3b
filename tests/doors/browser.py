"""A client of the native protocol over WebSocket, by aiohttp: what a browser's library does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from outlast_protocol import Connection, Record, Role
from outlast_protocol.batch import encode_batch, read_records
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Deliver,
    Hello,
    Open,
    Opened,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    Welcome,
)

from tests.support.broker import PATIENCE_S

F = TypeVar("F")


class Browser:
    """`messages` are what came, as they came."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, client_id: str) -> None:
        self.socket = socket
        self.id = client_id
        self.messages: list[bytes] = []
        self._codec = Connection(Role.CLIENT)
        self._came: list[Any] = []
        self._request = 0

    def request(self) -> int:
        self._request += 1
        return self._request

    async def send(self, *frames: Any) -> None:
        """All of them in one message."""
        await self.socket.send_bytes(b"".join(self._codec.send(frame) for frame in frames))

    async def receive(self) -> Any:
        """The next frame. Raises EOFError, with the code, when the broker has closed instead."""
        while not self._came:
            message = await self.socket.receive(PATIENCE_S)
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise EOFError(self.socket.close_code)
            self.messages.append(message.data)
            self._came += self._codec.receive(message.data)
        return self._came.pop(0)

    async def expect(self, kind: type[F]) -> F:
        frame = await self.receive()
        assert isinstance(frame, kind), frame
        return frame

    async def hello(self) -> Welcome:
        await self.send(Hello([1], self.id))
        return await self.expect(Welcome)

    async def open(self, channel: str) -> int:
        await self.send(Open(self.request(), channel))
        return (await self.expect(Opened)).number

    async def subscribe(self, number: int, credit: int = 1 << 20) -> None:
        await self.send(Subscribe(self.request(), number, credit, start="earliest"))
        await self.expect(Subscribed)

    async def publish(self, number: int, *datas: Any) -> int:
        """The offset; nothing else comes before it."""
        batch = encode_batch(self.id, [(data, None, None) for data in datas])
        await self.send(Publish(self.request(), number, 0, UNCONDITIONAL, 0, batch))
        return (await self.expect(Published)).acks[0][1]

    async def records(self, last: int) -> list[Record]:
        records: list[Record] = []
        while not records or records[-1].offset < last:
            records += read_records((await self.expect(Deliver)).batches)
        return records


class Internet:
    """Opens browsers at one port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session = session
        self.url = f"http://127.0.0.1:{port}"
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def stranger(self, client_id: str = "browser", **options: Any) -> Browser:
        self._sockets.append(await self.session.ws_connect(f"{self.url}/v1/ws", autoping=True, **options))
        return Browser(self._sockets[-1], client_id)

    async def browser(self, client_id: str = "browser", **options: Any) -> Browser:
        """One that has been welcomed."""
        browser = await self.stranger(client_id, **options)
        await browser.hello()
        return browser

    async def leave(self) -> None:
        for socket in self._sockets:
            await socket.close()


@asynccontextmanager
async def internet(port: int) -> AsyncIterator[Internet]:
    async with asyncio.timeout(PATIENCE_S * 2), aiohttp.ClientSession() as session:
        net = Internet(session, port)
        yield net
        await net.leave()
