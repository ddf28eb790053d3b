"""What one client does and sees of a channel's presence, over the wires of its link (PROTOCOL.md 6.11).

`Entry` is the inner half of a Membership, `Lookout` of a PresenceWatch. Both outlive wires, and the life of the
channel: on each new connection the room enters its members again, under the same member ids, and watches again.
A channel that was deleted is not brought back by presence alone: the room asks now and then whether it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from functools import partial
from random import random

from outlast_protocol import frames

from .backoff import Pace, delay_ms
from .errors import ConnectionLost, OutlastError, UnknownChannel, Violation
from .link import Answer, Life, Link
from .members import Occupied, PresenceCounts, PresenceEvent, Vacated, View
from .turns import settle

# A watch that its user does not iterate keeps so many events; of more a snapshot is left.
EVENTS_MAX = 10_000

_log = logging.getLogger("outlast")


class Entry:
    """One member of ours: what the broker is to know of it, and what it has accepted."""

    def __init__(self, member: int, encoding: int, data: bytes, grace_ms: int) -> None:
        self.member = member
        self.grace_ms = grace_ms
        self.wanted = (encoding, data)
        self.accepted: tuple[int, bytes] | None = None
        self.version = 0
        self._answered = -1
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def is_new(self) -> bool:
        """What is wanted now was neither accepted nor refused yet."""
        return self._answered < self.version

    def change(self, encoding: int, data: bytes) -> None:
        self.wanted = (encoding, data)
        self.version += 1

    async def heard(self) -> None:
        """Returns when the broker has accepted what is wanted now. Raises what it refuses it with."""
        if self._answered < self.version:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((self.version, turn))
            await turn

    def frame(self, number: int, request: int) -> frames.Enter:
        return frames.Enter(request, number, self.member, *self.wanted, self.grace_ms)

    def accept(self, version: int, wanted: tuple[int, bytes]) -> None:
        self.accepted = wanted
        self._answered = max(self._answered, version)
        self._settle(version, None)

    def refuse(self, version: int, error: OutlastError) -> None:
        """What was accepted before stays, unless something newer is under way."""
        if version == self.version and self.accepted is not None:
            self.wanted = self.accepted
        self._answered = max(self._answered, version)
        self._settle(version, error)

    def fail(self, error: OutlastError) -> None:
        self._settle(self.version, error)

    def _settle(self, version: int, error: OutlastError | None) -> None:
        over = [turn for wanted, turn in self._waiting if wanted <= version]
        self._waiting = [(wanted, turn) for wanted, turn in self._waiting if wanted > version]
        settle(over, error)


class Lookout:
    """The events that one watch has not handed over yet."""

    def __init__(self, wants_rows: bool) -> None:
        self.wants_rows = wants_rows
        self.has_begun = False
        self.failure: OutlastError | None = None
        self.closed = False
        self._events: deque[PresenceEvent] = deque()
        self._counts: tuple[int, int] | None = None
        self._occupied = self._occupied_when_handed = False
        self._waiter: asyncio.Future[None] | None = None

    def push(self, events: Iterable[PresenceEvent], view: View) -> None:
        """`view` is how things stand with these events."""
        self.has_begun = True
        if self.wants_rows:
            self._events.extend(events)
            if len(self._events) > EVENTS_MAX:
                self._shorten(view)
        elif self._counts != (view.present, view.away):
            self._events.append(PresenceCounts(view.present, view.away))
        self._counts = (view.present, view.away)
        self._note_occupancy(view)
        self.wake()

    def _shorten(self, view: View) -> None:
        self._events = deque([view.snapshot()])
        self._occupied = self._occupied_when_handed

    def _note_occupancy(self, view: View) -> None:
        occupied = view.present + view.away > 0
        if occupied != self._occupied:
            self._occupied = occupied
            self._events.append((Occupied if occupied else Vacated)(view.present, view.away))

    def pop(self) -> PresenceEvent | None:
        event = self._events.popleft() if self._events else None
        if isinstance(event, Occupied | Vacated):
            self._occupied_when_handed = isinstance(event, Occupied)
        return event

    async def changed(self) -> None:
        """Returns when something has come. Raises RuntimeError when another task waits already."""
        if self._waiter is not None:
            raise RuntimeError("two tasks iterate one watch: let one of them, or watch twice")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: OutlastError) -> None:
        """Ends the iteration with `error`, after what has come."""
        self.failure = error
        self.wake()


class Room:
    """Listens to its link while it has entries or lookouts."""

    def __init__(self, name: str, link: Link, pace: Pace) -> None:
        self.name = name
        self.failure: OutlastError | None = None
        self._link = link
        self._pace = pace
        self._entries: dict[int, Entry] = {}
        self._lookouts: dict[Lookout, None] = {}
        self._view = View()
        self._life: Life | None = None
        self._watches_rows: bool | None = None
        self._listening = self._opening = False
        self._attempt = 0
        self._timer: asyncio.TimerHandle | None = None

    # --- what its client wants ----------------------------------------------------------------------------

    def enter(self, entry: Entry) -> None:
        """Raises what ended the room: its client was closed."""
        self._check()
        self._entries[entry.member] = entry
        self._listen()
        self.say(entry)

    def say(self, entry: Entry) -> None:
        """Tells the broker what is wanted of this member, now or as soon as that can be."""
        self._check()
        if self._life is None:
            self._begin()
        else:
            self._send(self._life, entry)

    def leave(self, entry: Entry) -> asyncio.Future[None]:
        """The future is done when the broker knows, or will find out by itself that nobody comes back."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known = self._entries.pop(entry.member, None)
        life = self._life
        if known is None or life is None:
            done.set_result(None)
        else:
            leave = partial(frames.Leave, number=life.number, member=entry.member)
            self._link.request(leave, lambda answer: None if done.done() else done.set_result(None))
        self._rest()
        return done

    def watch(self, lookout: Lookout) -> None:
        """Raises what ended the room: its client was closed."""
        self._check()
        self._lookouts[lookout] = None
        self._listen()
        if self._life is None:
            self._begin()
        elif self._watches_rows is None or (lookout.wants_rows and not self._watches_rows):
            self._ask_to_watch(self._life)
        elif self._view.is_whole:
            lookout.push([self._view.snapshot()], self._view)

    def unwatch(self, lookout: Lookout) -> None:
        if self._lookouts.pop(lookout, 0) == 0:
            return
        life = self._life
        if not self._lookouts and self._watches_rows is not None:
            self._watches_rows = None
            self._view = View()
            if life is not None:
                self._link.request(partial(frames.Unwatch, number=life.number), _ignore)
        self._rest()

    def end(self, error: OutlastError) -> None:
        """The client is closed: its members leave, and whoever waits is told."""
        self.failure = error
        for entry in list(self._entries.values()):
            entry.fail(error)
            if self._life is not None:
                self._link.request(partial(frames.Leave, number=self._life.number, member=entry.member), _ignore)
        for lookout in self._lookouts:
            lookout.fail(error)
        self._entries.clear()
        self._lookouts.clear()
        self._rest()

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._link.listeners.append(self)

    def _rest(self) -> None:
        """Without entries and lookouts there is nothing to listen for."""
        if self._entries or self._lookouts:
            return
        if self._life is not None:
            self._link.dismiss_witness(self._life.number)
        self._forget_wire()
        if self._listening:
            self._listening = False
            self._link.listeners.remove(self)

    # --- called by the link -------------------------------------------------------------------------------

    def link_opened(self) -> None:
        self._attempt = 0
        self._begin()

    def link_lost(self) -> None:
        self._forget_wire()

    def told(self, presence: frames.Presence) -> None:
        try:
            events = self._view.apply(presence)
        except Violation as violation:
            self._link.fail(violation)
            return
        for lookout in self._lookouts:
            if self._view.is_whole and (self._view.has_rows or not lookout.wants_rows):
                lookout.push(events if lookout.has_begun else [self._view.snapshot()], self._view)

    def deleted(self, number: int) -> None:
        """Of this life of the channel nothing more will come."""
        life, self._life = self._life, None
        self._watches_rows = None
        self._link.dismiss_witness(number)
        if life is not None and self._link.life(self.name) is life:
            self._link.forget(self.name)
        events = self._view.end()
        for lookout in self._lookouts:
            if lookout.has_begun:
                lookout.push(events, self._view)
        self._try_later(0)

    def _forget_wire(self) -> None:
        """What the members of this view do now is not known; it stands until a new snapshot replaces it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._life = self._watches_rows = None
        self._opening = False

    # --- entering and watching ----------------------------------------------------------------------------

    @property
    def _creates(self) -> bool:
        """Whether somebody waits who does not know yet, or was not told, that the channel is gone."""
        return any(entry.is_new for entry in self._entries.values()) or any(
            not lookout.has_begun for lookout in self._lookouts
        )

    def _begin(self) -> None:
        link = self._link
        if self._life is not None or self._opening or not link.is_open or not (self._entries or self._lookouts):
            return
        life = link.life(self.name)
        if life is None:
            self._opening = True
            link.open_channel(self.name, self._opened, self._creates)
            return
        self._life = life
        link.call_witness(life.number, self)
        for entry in list(self._entries.values()):
            self._send(life, entry)
        if self._lookouts:
            self._ask_to_watch(life)

    def _opened(self, answer: Answer) -> None:
        self._opening = False
        if isinstance(answer, UnknownChannel):
            self._try_later(0)
        elif isinstance(answer, OutlastError):
            self._refused(answer)
        else:
            self._attempt = 0
            self._begin()

    def _send(self, life: Life, entry: Entry) -> None:
        heard = partial(self._entered, life, entry, entry.version, entry.wanted)
        self._link.request(lambda request: entry.frame(life.number, request), heard)

    def _entered(self, life: Life, entry: Entry, version: int, wanted: tuple[int, bytes], answer: Answer) -> None:
        if life is not self._life or isinstance(answer, ConnectionLost):
            return
        if not isinstance(answer, OutlastError):
            entry.accept(version, wanted)
        elif isinstance(answer, UnknownChannel):
            self.deleted(life.number)
        elif answer.retryable or not entry.is_new:
            _log.warning("presence in %r waits: %s", self.name, answer)
            self._again(answer)
        else:
            if entry.accepted is None:
                self._entries.pop(entry.member, None)
            entry.refuse(version, answer)
            self._rest()

    def _ask_to_watch(self, life: Life) -> None:
        rows = any(lookout.wants_rows for lookout in self._lookouts)
        self._watches_rows = rows
        self._link.request(partial(frames.Watch, number=life.number, rows=rows), partial(self._watched, life, rows))

    def _watched(self, life: Life, rows: bool, answer: Answer) -> None:
        if life is not self._life or isinstance(answer, ConnectionLost):
            return
        if not isinstance(answer, OutlastError):
            self._view.begin(rows)
        elif isinstance(answer, UnknownChannel):
            self.deleted(life.number)
        else:
            self._refused(answer)

    def _refused(self, error: OutlastError) -> None:
        if isinstance(error, ConnectionLost):
            return
        if error.retryable:
            self._again(error)
            return
        for entry in self._entries.values():
            entry.fail(error)
        for lookout in self._lookouts:
            lookout.fail(error)
        self._entries.clear()
        self._lookouts.clear()
        self._rest()

    def _again(self, error: OutlastError) -> None:
        """Everything is said again after a while: it does no harm to say it twice."""
        if self._life is not None:
            self._link.dismiss_witness(self._life.number)
        self._life = self._watches_rows = None
        self._try_later(error.retry_after_ms)

    def _try_later(self, asked_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_ms = delay_ms(self._attempt, self._pace, random(), asked_ms)
        self._attempt += 1
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._begin)


def _ignore(answer: Answer) -> None:
    """Whatever it is, nothing here depends on it."""
