"""Waiting until a reader has done with a message: AWAIT, over as many connections as that takes."""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

from outlast_protocol import Position, frames
from outlast_protocol.limits import AWAIT_MS_MAX

from .cursor import check_cursor_name
from .errors import ConnectionLost, NotDelivered, StaleEpoch, UnknownChannel
from .link import Life, Link
from .records import Ack

# The broker says where the cursor stands when the time is up; without a broker nobody does.
GRACE_S = 1.0


class PublishedAck(Ack):
    """An Ack that knows by which link its channel is reached."""

    wire: Link
    channel: str

    async def delivered(self, *, cursor: str, timeout: float | None = 30.0) -> None:
        if not self.offset:
            raise ValueError("this duplicate is so old that its offset is not known any more: nobody can wait for it")
        await wait_for(self.wire, Wanted(self.channel, self.epoch, check_cursor_name(cursor), self.last), timeout)


class Wanted(NamedTuple):
    """`cursor` is to stand at `offset` in this life of the channel; None: in the one it has now."""

    channel: str
    epoch: int | None
    cursor: str
    offset: int


async def wait_for(link: Link, wanted: Wanted, timeout: float | None) -> None:
    """Returns when the cursor stands there on disk. Raises NotDelivered, UnknownChannel, StaleEpoch, OffsetAhead."""
    loop = asyncio.get_running_loop()
    deadline = math.inf if timeout is None else loop.time() + timeout
    try:
        async with asyncio.timeout(None if timeout is None else timeout + GRACE_S):
            while not await _ask(link, wanted, deadline):
                life = link.life(wanted.channel)
                if wanted.epoch is None and life is not None:
                    wanted = wanted._replace(epoch=life.epoch)
    except TimeoutError:
        text = f"cursor {wanted.cursor!r} was not seen at {wanted.offset} within {timeout:g} s: no connection"
        raise NotDelivered(text) from None


async def _ask(link: Link, wanted: Wanted, deadline: float) -> bool:
    """One AWAIT. False when it is to be asked again: over another connection, or for longer than one may last."""
    life = await link.find_channel(wanted.channel)
    if wanted.epoch is not None and life.epoch != wanted.epoch:
        epoch = str(Position(life.epoch, 0)).partition(":")[0]
        raise StaleEpoch(
            "the channel was deleted and made anew: nobody waits for this message", detail={"epoch": epoch}
        )
    try:
        await link.call(lambda request: _frame(request, life, wanted, deadline), frames.Reply)
        return True
    except ConnectionLost:
        return False
    except NotDelivered:
        if asyncio.get_running_loop().time() >= deadline:
            raise
        return False
    except UnknownChannel:
        if link.life(wanted.channel) is life:
            link.forget(wanted.channel)
        return False


def _frame(request: int, life: Life, wanted: Wanted, deadline: float) -> frames.Await:
    left_s = deadline - asyncio.get_running_loop().time()
    timeout_ms = math.ceil(min(max(left_s, 0) * 1000, AWAIT_MS_MAX))
    return frames.Await(request, life.number, wanted.cursor, wanted.offset, timeout_ms)
