"""A proxy between clients and a broker that does to connections what networks do: cuts, resets, delays, silence.

async with Proxy(path, broker_path) as proxy:
    proxy.plan = lambda index: Faults(down_bytes=100)     # the next connections end after 100 bytes
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

RECEIVE_BYTES = 65_536
_LINGER_NOT = b"\1\0\0\0\0\0\0\0"


class Faults(NamedTuple):
    """What happens to one connection. None is never. `down` is towards the client, `up` towards the broker."""

    down_bytes: int | None = None
    up_bytes: int | None = None
    latency_s: float = 0.0
    reset: bool = False


CALM = Faults()


class Cut(Exception):
    """The connection is over."""


class Proxy:
    """Listens on a Unix socket at `path`, or on a port of 127.0.0.1 when `path` is None. `target` is a Unix socket, or
    a port of this machine.

    `plan` is asked with the index of each new connection, from 0.
    """

    def __init__(self, path: str | None, target: str | int) -> None:
        self.target = target
        self.plan: Callable[[int], Faults] = lambda index: CALM
        self.connections = 0
        self.down_bytes = 0
        self._path = path
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._serving: set[asyncio.Task[object]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        """For `outlast.connect`."""
        if self._path is not None:
            return f"outlast+unix://{self._path}"
        host, port = self._server.sockets[0].getsockname()
        return f"outlast://{host}:{port}"

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._flowing.set()
        self.cut_all()
        if self._serving:
            await asyncio.wait(self._serving)

    def pause(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut_all(self) -> None:
        """Every connection ends now."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        faults = self.plan(self.connections)
        self.connections += 1
        self._open.add(writer)
        try:
            await self._join(reader, writer, faults)
        finally:
            self._open.discard(writer)
            await _end(writer, faults.reset)
            self._serving.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults) -> None:
        try:
            up_reader, up_writer = await _dial(self.target)
        except OSError:
            return
        self._open.add(up_writer)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, up_writer, faults.up_bytes, faults.latency_s))
                pumps.create_task(self._down(up_reader, writer, faults))
        except* (Cut, OSError):
            pass
        finally:
            self._open.discard(up_writer)
            await _end(up_writer, faults.reset)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults) -> None:
        await self._pump(reader, writer, faults.down_bytes, faults.latency_s, counted=True)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: int | None,
        latency_s: float,
        counted: bool = False,
    ) -> None:
        while left != 0 and (data := await reader.read(RECEIVE_BYTES)):
            await self._flowing.wait()
            if latency_s:
                await asyncio.sleep(latency_s)
            if left is not None:
                data = data[:left]
                left -= len(data)
            self.down_bytes += len(data) if counted else 0
            writer.write(data)
            await writer.drain()
        raise Cut


async def _dial(target: str | int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, int):
        return await asyncio.open_connection("127.0.0.1", target)
    return await asyncio.open_unix_connection(target)


async def _end(writer: asyncio.StreamWriter, reset: bool) -> None:
    """What was written still arrives, unless this is a reset."""
    sock = writer.get_extra_info("socket")
    if reset:
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
