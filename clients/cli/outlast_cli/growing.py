"""One message that grows while standard input comes: `outlast pub --message`."""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Any

import click
from outlast import BufferFull, Channel, Client, Lease, MessageWriter

from .background import in_background
from .exits import Exit, Failure

STDIN = 0
CHUNK_BYTES = 65_536


async def write(client: Client, target: Channel | Lease, labels: Mapping[str, Any], source: str | int) -> int:
    """`source` is the text itself, or a descriptor to read it from; what is not UTF-8 there is replaced."""
    try:
        async with target.message(**labels) as message:
            if isinstance(source, str):
                await message.append(source)
            else:
                await _append_from(source, message)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise Failure(f"standard input cannot be read: {error}") from None
    click.echo(str(message.position._replace(offset=message.id)))
    return Exit.OK


async def _append_from(descriptor: int, message: MessageWriter) -> None:
    """What comes is sent at once; it is read no faster than the buffer for what is not on disk allows."""
    decoder = getincrementaldecoder("utf-8")("replace")
    while chunk := await in_background(lambda: os.read(descriptor, CHUNK_BYTES)):
        await _append(message, decoder.decode(chunk))
    await _append(message, decoder.decode(b"", final=True))


async def _append(message: MessageWriter, text: str) -> None:
    if not text:
        return
    try:
        message.append_nowait(text)
    except BufferFull:
        await message.flush()
        message.append_nowait(text)
