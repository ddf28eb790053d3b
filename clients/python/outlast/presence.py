"""Presence: being in a channel, and seeing who is (PROTOCOL.md 6.11)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from functools import partial
from types import TracebackType
from typing import Self

from outlast_protocol import Data, frames
from outlast_protocol.limits import GRACE_MS_MAX, MEMBER_DATA_BYTES_MAX

from .backoff import Pace
from .errors import Closed, UnknownChannel
from .link import Link
from .members import Member, PresenceEvent, member_from
from .room import Entry, Lookout, Room
from .rows import make_row

GRACE_S_DEFAULT = 10.0
LEAVE_TIMEOUT_S = 1.0
MEMBERS_PAGE = 1_000


class Presence:
    """`channel.presence`: who is there. A client may be there several times, as a person with two tabs is."""

    def __init__(self, name: str, link: Link, pace: Pace) -> None:
        self._name = name
        self._link = link
        self.room = Room(name, link, pace)

    def __repr__(self) -> str:
        return f"<outlast.Presence in {self._name!r}>"

    def enter(self, data: Data = None, *, grace: float = GRACE_S_DEFAULT) -> Membership:
        """For `async with`: inside, this client is a member of the channel, with `data` for all to see.

        When the connection is lost the member is away, and comes back with the connection; after `grace` seconds
        (0 to 60) without one it has left. `data` is bytes, text or a JSON value of at most 1,024 bytes.
        """
        encoding, raw = _encoded(data)
        grace_ms = _grace_ms(grace)
        return Membership(self.room, Entry(secrets.randbits(64), encoding, raw, grace_ms))

    def watch(self, *, members: bool = True) -> PresenceWatch:
        """What happens, from who is there now on: see PresenceWatch. Without `members` it counts, which costs less."""
        return PresenceWatch(self.room, Lookout(members))

    async def members(self) -> list[Member]:
        """Who is there or away, in the byte order of the client ids. Raises UnknownChannel."""
        found: list[Member] = []
        more = True
        while more:
            last = found[-1] if found else None
            ask = partial(
                frames.Members,
                channel=self._name,
                after_client=last and last.client_id,
                after_member=last and last.member_id,
                limit=MEMBERS_PAGE,
            )
            result = (await self._link.call_again(ask, frames.Reply)).result
            rows = [member_from(row) for row in result["members"]]
            found += rows
            more = bool(rows) and result["more"]
        return found

    async def occupied(self) -> bool:
        """Whether anybody is there, the asker included if it has entered. Who is away counts: it may come back."""
        ask = partial(frames.Members, channel=self._name, limit=1)
        try:
            result = (await self._link.call_again(ask, frames.Reply)).result
        except UnknownChannel:
            return False
        return bool(result["present"] + result["away"])

    async def until_occupied(self, timeout: float | None = None) -> None:
        """Returns when anybody is there. `timeout` in seconds, None: for ever. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self.watch(members=False) as watch:
            async for event in watch:
                if event.occupied:
                    return

    def close(self) -> None:
        """Called by the client when it is closed."""
        self.room.end(Closed("the client was closed"))


class Membership:
    """This client's presence in a channel, inside `async with channel.presence.enter(...)`."""

    def __init__(self, room: Room, entry: Entry) -> None:
        self._room = room
        self._entry = entry
        self._entered = self._left = False

    @property
    def member_id(self) -> int:
        """Tells this membership from others of the same client."""
        return self._entry.member

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a membership can be entered once: call enter() again for another one")
        self._entered = True
        self._room.enter(self._entry)
        try:
            await self._entry.heard()
        except BaseException:
            self._left = True
            self._room.leave(self._entry)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def update(self, data: Data) -> None:
        """Returns when the broker has the new data, over as many connections as that takes.

        What it refuses is raised, and then the data stays as it was. Raises Closed after `leave`.
        """
        if not self._entered or self._left:
            raise Closed("this membership is not entered, or was left")
        self._entry.change(*_encoded(data))
        self._room.say(self._entry)
        await self._entry.heard()

    async def leave(self) -> None:
        """May be called twice. Without a connection, the broker finds out when the time of grace is over."""
        if self._left or not self._entered:
            return
        self._left = True
        self._entry.fail(Closed("the membership was left"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._room.leave(self._entry)


class PresenceWatch:
    """Iterate it for events; it ends by `close`, by leaving its `async with`, or when it is dropped.

    It begins with a PresenceSnapshot, and gives another one, which replaces what was known, after each new
    connection and whenever it could not keep up. MemberChanged is what happens between. Occupied and Vacated come
    behind whatever made the channel so; a watch begins with nobody there. Without members there are PresenceCounts
    instead of snapshots and changes.

    When the channel is deleted all have left. Its next life is watched as soon as there is one.
    """

    def __init__(self, room: Room, lookout: Lookout) -> None:
        self._room = room
        self._lookout = lookout
        self._loop: asyncio.AbstractEventLoop | None = None

    def _start(self) -> None:
        if self._loop is None:
            self._room.watch(self._lookout)
            self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """An iteration that waits ends, too. May be called twice."""
        self._let_go()

    def _let_go(self) -> None:
        self._lookout.closed = True
        self._room.unwatch(self._lookout)
        self._lookout.wake()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PresenceEvent:
        lookout = self._lookout
        if not lookout.closed:
            self._start()
        while not lookout.closed:
            event = lookout.pop()
            if event is not None:
                return event
            if lookout.failure is not None:
                raise lookout.failure
            await lookout.changed()
        raise StopAsyncIteration

    def __del__(self) -> None:
        """A loop left by `break` drops its watch; the broker is told, from the loop's own thread."""
        loop = self._loop
        if loop is not None and not self._lookout.closed and not loop.is_closed():
            self._lookout.closed = True
            loop.call_soon_threadsafe(self._room.unwatch, self._lookout)


def _encoded(data: Data) -> tuple[int, bytes]:
    """Raises TypeError or ValueError for what no member can have."""
    row = make_row(data)
    if len(row.data) > MEMBER_DATA_BYTES_MAX:
        text = f"a member's data has at most {MEMBER_DATA_BYTES_MAX} bytes, not {len(row.data)}"
        raise ValueError(f"{text}: publish it, and say here where it is")
    return row.label[0], row.data


def _grace_ms(grace: object) -> int:
    if isinstance(grace, bool) or not isinstance(grace, int | float):
        raise TypeError(f"grace is {type(grace).__name__}, expected seconds")
    if not 0 <= grace <= GRACE_MS_MAX / 1000:
        raise ValueError(f"grace is {grace} s, expected 0 to {GRACE_MS_MAX // 1000}")
    return math.ceil(grace * 1000)
