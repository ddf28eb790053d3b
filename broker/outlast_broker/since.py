"""Where a time lies in a channel's log: the first record that is not older."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import pages
from .channel import Channel
from .chunk import Chunk
from .pages import Start

if TYPE_CHECKING:
    from .connection import ClientConnection


def find_time(
    connection: ClientConnection,
    request: int,
    channel: Channel,
    time_ms: int,
    done: Callable[[Start], None],
    failed: Callable[[], None] = lambda: None,
) -> None:
    """The tail is asked first and remembered, for it may move into chunks while they are being read."""
    if channel.tail and channel.tail_time(time_ms) >= channel.tail_firsts[0]:
        done(Start(max(channel.tail_time(time_ms), channel.first - 1)))
        return
    before_tail = channel.tail_firsts[0] - 1 if channel.tail else channel.last

    def found(future: Future[Chunk | None]) -> None:
        if future.exception() is not None:
            failed()
        chunk = future.result()
        after = pages.after_time(chunk.batches, time_ms) if chunk is not None else before_tail
        done(Start(max(after, channel.first - 1)))

    connection.read_aside(request, channel, found, pages.find_time, channel.number, time_ms)
