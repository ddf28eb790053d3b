"""ENTER, LEAVE, MEMBERS, WATCH and UNWATCH: who is in a channel, and who is told of it (PROTOCOL.md 6.11).

`presence.Roster` knows the members. An `Attendance` knows whose connections they are and who watches. It has two
timers: one gathers changes, so that however many there are, each watcher gets few frames and all get the same
bytes; the other ends times of grace.
"""

from __future__ import annotations

from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from outlast_protocol import Encoding, ErrorCode, ProtocolError, frames as f, limits

from . import clock
from .channel import Channel
from .outbox import Outbox
from .presence import Key, Member, Roster

if TYPE_CHECKING:
    from .connection import ClientConnection

GATHER_MS = 100
# One frame of PRESENCE: the protocol lets an array have so many rows, and frames this long interleave well.
FRAME_ROWS = 1_000
FRAME_BYTES = 262_144
# A page of MEMBERS, which is one REPLY.
REPLY_BYTES = limits.FRAME_BYTES_MAX - 1_024
# What is kept for a watcher while its snapshot is on its way; of more changes a second snapshot tells.
MISSED_MAX = 1_000

Counts: TypeAlias = tuple[int, int]
# One frame of a snapshot, and the key of the last member in it if there are more.
SnapshotPage: TypeAlias = tuple[bytes, Key | None]


class Watcher:
    """One connection that watches one channel. While it is `live` it gets changes as they come.

    Else it lags: it is owed a snapshot, or the rest of one from behind the member `after`; `missed` are changes of
    members that were in it already, None when there were too many. It may watch by WATCH (`asked` says whether for
    rows), by ATTACH, or by both; each ends by itself.
    """

    __slots__ = ("after", "asked", "attached", "attendance", "connection", "live", "missed")

    def __init__(self, attendance: Attendance, connection: ClientConnection) -> None:
        self.attendance = attendance
        self.connection = connection
        self.asked: bool | None = None
        self.attached = False
        self.begin()

    @property
    def rows(self) -> bool:
        """Whether it is told of members, not of their number alone."""
        return self.attached or self.asked is True

    def begin(self) -> None:
        """It is owed a whole snapshot."""
        self.live = False
        self.after: Key | None = None
        self.missed: dict[Key, Member] | None = {}
        self.connection.lagging[self] = None

    def go_live(self) -> None:
        self.live = True
        self.connection.lagging.pop(self, None)

    def note(self, changes: list[Member]) -> None:
        """Keeps what the rest of the snapshot will not tell."""
        if self.after is None or self.missed is None:
            return
        self.missed |= {member.key: member for member in changes if member.key <= self.after}
        if len(self.missed) > MISSED_MAX:
            self.missed = None

    def end_unless_wanted(self) -> None:
        if self.asked is None and not self.attached:
            self.end()

    def end(self) -> None:
        self.attendance.watchers.pop(self.connection, None)
        self.connection.watches.pop(self.attendance, None)
        self.connection.lagging.pop(self, None)


class Attendance:
    """The presence of one channel. While it has members the channel counts as used, and stays."""

    __slots__ = (
        "_channel", "_counted", "_gathering", "_grace", "_holding", "_outbox", "_owners", "_pages", "_told_ms",
        "roster", "watchers",
    )  # fmt: skip

    def __init__(self, channel: Channel, outbox: Outbox) -> None:
        self._channel = channel
        self._outbox = outbox
        self._holding = False
        self._owners: dict[Key, ClientConnection] = {}
        self._pages: dict[Key | None, SnapshotPage] = {}
        self._counted: Counts = (0, 0)
        self._gathering: TimerHandle | None = None
        self._grace: TimerHandle | None = None
        self._told_ms = 0
        self.roster = Roster()
        self.watchers: dict[ClientConnection, Watcher] = {}

    # --- members ------------------------------------------------------------------------------------------

    def enter(self, connection: ClientConnection, key: Key, frame: f.Enter) -> None:
        """The member belongs to this connection from now on. Raises `limit_exceeded`."""
        _check_room(connection, (self, key))
        self.roster.enter(key, frame.encoding, frame.data, frame.grace_ms, clock.now_ms())
        self._disown(key)
        self._owners[key] = connection
        connection.members[self, key] = None
        self._changed()

    def leave(self, key: Key) -> None:
        self._disown(key)
        self.roster.leave(key, "left", clock.now_ms())
        self._changed()

    def lose(self, keys: list[Key]) -> None:
        """The connection that these members belonged to has ended."""
        now_ms, steady_ms = clock.now_ms(), clock.steady_ms()
        for key in keys:
            self._disown(key)
            self.roster.lose(key, now_ms, steady_ms)
        self._arm()
        self._changed()

    def lapse(self) -> None:
        """Those whose time of grace is over have left."""
        self.roster.lapse(clock.now_ms(), clock.steady_ms())
        self._arm()
        self._changed()

    def _disown(self, key: Key) -> None:
        owner = self._owners.pop(key, None)
        if owner is not None:
            del owner.members[self, key]

    def _arm(self) -> None:
        deadline_ms = self.roster.next_deadline_ms()
        _cancel(self._grace)
        self._grace = None if deadline_ms is None else _call_in(deadline_ms - clock.steady_ms(), self.lapse)

    def _changed(self) -> None:
        if not self.roster.changes:
            return
        self._pages.clear()
        self._hold_channel()
        if not self.watchers:
            self.roster.take_changes()
        elif self._gathering is None:
            wait_ms = self._told_ms + GATHER_MS - clock.steady_ms()
            self._gathering = _call_in(wait_ms, self.tell)

    def _hold_channel(self) -> None:
        """A channel with members is neither let go of nor idle (PROTOCOL.md 6.11)."""
        if len(self.roster) and not self._holding:
            self._channel.entered()
        elif self._holding and not len(self.roster):
            self._channel.left(clock.now_ms())
        self._holding = len(self.roster) > 0

    # --- telling watchers ---------------------------------------------------------------------------------

    def watcher(self, connection: ClientConnection) -> Watcher:
        """Makes the connection a watcher, which lags; one that watched already begins anew."""
        if not self.watchers:
            self._counted = self.roster.counts
        watcher = self.watchers.get(connection)
        if watcher is None:
            watcher = self.watchers[connection] = connection.watches[self] = Watcher(self, connection)
        watcher.begin()
        return watcher

    def serve(self, watcher: Watcher) -> None:
        """Goes on with its snapshot as long as its socket takes it."""
        while not watcher.live and not watcher.connection.clogged:
            frame, last = self._page(watcher)
            watcher.connection.send(frame)
            watcher.after = last
            if last is None:
                self._end_snapshot(watcher)

    def _page(self, watcher: Watcher) -> SnapshotPage:
        if not watcher.rows:
            return self._frame([], snapshot=True), None
        page = self._pages.get(watcher.after)
        if page is None:
            members, more = self.roster.page(watcher.after, FRAME_ROWS, FRAME_BYTES)
            page = self._frame(members, snapshot=True, more=more), members[-1].key if more else None
            self._pages[watcher.after] = page
        return page

    def _end_snapshot(self, watcher: Watcher) -> None:
        if watcher.missed is None:
            watcher.begin()
            return
        for frame in self._frames(list(watcher.missed.values())):
            watcher.connection.send(frame)
        watcher.go_live()

    def tell(self) -> None:
        """The changes that were gathered, to all who watch: the same bytes (PROTOCOL.md 6.11)."""
        self._gathering = None
        self._told_ms = clock.steady_ms()
        changes = self.roster.take_changes()
        frames = list(self._frames(changes))
        counts = [] if self._counted == self.roster.counts else [self._frame([])]
        self._counted = self.roster.counts
        for watcher in self.watchers.values():
            if not watcher.live:
                watcher.note(changes)
            elif not _sent(watcher.connection, frames if watcher.rows else counts):
                watcher.begin()
        self._outbox.flush()

    def _frames(self, changes: list[Member]) -> Iterator[bytes]:
        part: list[Member] = []
        room = FRAME_BYTES
        for member in changes:
            room -= member.row_bytes
            if room < 0 or len(part) == FRAME_ROWS:
                yield self._frame(part, more=True)
                part, room = [], FRAME_BYTES - member.row_bytes
            part.append(member)
        if part:
            yield self._frame(part)

    def _frame(self, members: list[Member], snapshot: bool = False, more: bool = False) -> bytes:
        rows = [member.row() for member in members]
        return f.encode(f.Presence(self._channel.number, *self.roster.counts, rows, snapshot, more))

    # --- the end of the channel -----------------------------------------------------------------------------

    def end(self) -> Callable[[], None]:
        """The channel was deleted. What is returned tells everybody, once that is on disk."""
        _cancel(self._gathering)
        _cancel(self._grace)
        subscribed = {reader.connection for reader in self._channel.readers}
        involved = {*self.watchers, *self._owners.values()} - subscribed
        for key in list(self._owners):
            self._disown(key)
        self.roster.clear("deleted", clock.now_ms())
        watchers = list(self.watchers.values())
        for watcher in watchers:
            watcher.end()
        frames, counts = list(self._frames(self.roster.take_changes())), [self._frame([])]
        resync = f.encode(f.Resync(self._channel.number, "deleted", self._channel.last, self._channel.epoch))

        def tell() -> None:
            for watcher in watchers:
                _sent(watcher.connection, frames if watcher.rows and watcher.live else counts)
            for connection in involved:
                connection.send(resync)

        return tell


def _sent(connection: ClientConnection, frames: list[bytes]) -> bool:
    """False when the socket did not take them all: who watches gets a new snapshot instead (PROTOCOL.md 6.11)."""
    for frame in frames:
        if connection.clogged:
            return False
        connection.send(frame)
    return True


def _call_in(delay_ms: int, call: Callable[[], None]) -> TimerHandle:
    return get_running_loop().call_later(max(delay_ms, 0) / 1000, call)


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


# --- frames -----------------------------------------------------------------------------------------------


def enter(connection: ClientConnection, frame: f.Enter) -> None:
    channel = connection.opened_channel(frame.number)
    _check_member(frame)
    attendance = attendance_of(connection, channel)
    attendance.enter(connection, (connection.client, frame.member), frame)
    _reply_counts(connection, frame.request, attendance)


def leave(connection: ClientConnection, frame: f.Leave) -> None:
    attendance = attendance_of(connection, connection.opened_channel(frame.number))
    attendance.leave((connection.client, frame.member))
    _reply_counts(connection, frame.request, attendance)


def members(connection: ClientConnection, frame: f.Members) -> None:
    channel = connection.named_channel(frame.channel)
    if not 1 <= frame.limit <= FRAME_ROWS:
        raise ProtocolError(ErrorCode.BAD_BODY, f"limit is {frame.limit}, allowed are 1 to {FRAME_ROWS}")
    if (frame.after_client is None) != (frame.after_member is None):
        raise ProtocolError(ErrorCode.BAD_BODY, "after_client and after_member go together: give both or none")
    connection.pages_asked += 1

    def answer() -> None:
        connection.pages_asked -= 1
        _list(connection, frame, channel)
        connection.go_on()

    connection.when_readable(frame.request, channel, answer)


def _list(connection: ClientConnection, frame: f.Members, channel: Channel) -> None:
    after = None if frame.after_client is None else (frame.after_client.encode(), frame.after_member or 0)
    roster = channel.attendance.roster if channel.attendance is not None else Roster()
    page = roster.page(after, frame.limit, REPLY_BYTES)
    rows = [member.row() for member in page.members]
    present, away = roster.counts
    connection.reply(frame.request, {"members": rows, "more": page.more, "present": present, "away": away})


def watch(connection: ClientConnection, frame: f.Watch) -> None:
    attendance = attendance_of(connection, connection.opened_channel(frame.number))
    watcher = attendance.watcher(connection)
    watcher.asked = frame.rows
    _reply_counts(connection, frame.request, attendance)
    attendance.serve(watcher)


def unwatch(connection: ClientConnection, frame: f.Unwatch) -> None:
    watcher = _watcher(connection, connection.opened_channel(frame.number))
    if watcher is not None:
        watcher.asked = None
        watcher.end_unless_wanted()
    connection.reply(frame.request, {})


# --- for others -------------------------------------------------------------------------------------------


def attendance_of(connection: ClientConnection, channel: Channel) -> Attendance:
    if channel.attendance is None:
        channel.attendance = Attendance(channel, connection.engine.outbox)
    return channel.attendance


def watch_attached(connection: ClientConnection, channel: Channel) -> None:
    """The connection watches the channel, and is sent the members there are: as much as its socket takes, now."""
    attendance = attendance_of(connection, channel)
    watcher = attendance.watcher(connection)
    watcher.attached = True
    attendance.serve(watcher)


def unwatch_quietly(connection: ClientConnection, channel: Channel) -> None:
    """The connection does not watch the channel any more, unless WATCH said so; it may not have done so before."""
    watcher = _watcher(connection, channel)
    if watcher is not None:
        watcher.attached = False
        watcher.end_unless_wanted()


def drained(connection: ClientConnection) -> None:
    """The connection's socket takes more: those of its watches that lag go on."""
    if connection.lagging:
        get_running_loop().call_soon(_go_on, connection)


def _go_on(connection: ClientConnection) -> None:
    for watcher in list(connection.lagging):
        watcher.attendance.serve(watcher)
    connection.engine.outbox.flush()


def gone(connection: ClientConnection) -> None:
    """The connection has ended: it watches nothing, and its members are away."""
    for watcher in list(connection.watches.values()):
        watcher.end()
    lost: dict[Attendance, list[Key]] = {}
    for attendance, key in connection.members:
        lost.setdefault(attendance, []).append(key)
    for attendance, keys in lost.items():
        attendance.lose(keys)


# --- small help -------------------------------------------------------------------------------------------


def _watcher(connection: ClientConnection, channel: Channel) -> Watcher | None:
    return channel.attendance.watchers.get(connection) if channel.attendance is not None else None


def _reply_counts(connection: ClientConnection, request: int, attendance: Attendance) -> None:
    present, away = attendance.roster.counts
    connection.reply(request, {"present": present, "away": away})


def _check_member(frame: f.Enter) -> None:
    if frame.encoding not in list(Encoding):
        text = f"encoding is {frame.encoding}, allowed are 0 (bytes), 1 (text) and 2 (JSON)"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if frame.grace_ms > limits.GRACE_MS_MAX:
        text = f"grace_ms is {frame.grace_ms}, allowed are up to {limits.GRACE_MS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if len(frame.data) > limits.MEMBER_DATA_BYTES_MAX:
        most = limits.MEMBER_DATA_BYTES_MAX
        text = f"a member's data has at most {most} bytes, not {len(frame.data)}: put more into the channel's state"
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="member_data_bytes", value=most)


def _check_room(connection: ClientConnection, member: tuple[Attendance, Key]) -> None:
    """What one connection can make grow is bounded, too."""
    if len(connection.members) >= limits.MEMBERS_MAX and member not in connection.members:
        text = f"{limits.MEMBERS_MAX} members belong to this connection"
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="members", value=limits.MEMBERS_MAX)
