from __future__ import annotations

import asyncio

from outlast_cli.demo.line import Line


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1024):
        writer.write(data)
        await writer.drain()
    writer.close()


async def ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionError:
        return True


async def ask(line: Line) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    try:
        writer.write(b"hello")
        return await asyncio.wait_for(reader.read(5), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_cut_is_a_real_one() -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        line = Line(server.sockets[0].getsockname()[1])
        await line.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        line.cut()
        assert await ends(reader)
        assert await ask(line) == b""
        line.mend()
        assert await ask(line) == b"hello"
        writer.close()
        await line.close()
        server.close()
        assert await ask_closed(line.port)

    asyncio.run(main())


async def ask_closed(port: int) -> bool:
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    return False


def test_without_a_broker_behind_it() -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        line = Line(port)
        await line.open()
        assert await ask(line) == b""
        await line.close()

    asyncio.run(main())
