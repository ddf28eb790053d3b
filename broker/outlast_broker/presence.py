"""The members of one channel (PROTOCOL.md 6.11). Pure: told what happens and when, it knows who is there.

Times that rows show (`now_ms`) are Unix time; the time of grace runs on a clock that never jumps (`steady_ms`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeAlias

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import MEMBERS_MAX

PRESENT, AWAY, LEFT = 0, 1, 2
# What a row takes beside its client id and its data, at most.
ROW_BYTES = 40
# Deadlines of members who came back are forgotten when they are more than those that count.
_STALE_DEADLINES = 1_000

# Client id in UTF-8, so that keys sort in byte order, and the member's number.
Key: TypeAlias = tuple[bytes, int]
Row: TypeAlias = list[Any]


class Member(NamedTuple):
    """`since_ms` is when it got this status, `deadline_ms` when its time of grace is over, if it is away."""

    key: Key
    status: int
    encoding: int
    data: bytes
    since_ms: int
    grace_ms: int
    reason: str = ""
    deadline_ms: int = 0

    def row(self) -> Row:
        """As PRESENCE and MEMBERS give it."""
        client, number = self.key
        return [client.decode(), number, self.status, self.encoding, self.data, self.since_ms, self.reason]

    @property
    def row_bytes(self) -> int:
        """What its row takes, at most."""
        return ROW_BYTES + len(self.key[0]) + len(self.data)


class Page(NamedTuple):
    """Members in the order of their keys; `more` stand behind the last of them."""

    members: list[Member]
    more: bool


class Roster:
    """`changes` are the members that something happened to since `take_changes`, each as it is now."""

    __slots__ = ("_deadlines", "_keys", "_members", "away", "changes", "present")

    def __init__(self) -> None:
        self._members: dict[Key, Member] = {}
        self._keys: list[Key] = []
        self._deadlines: list[tuple[int, Key]] = []
        self.present = self.away = 0
        self.changes: dict[Key, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def counts(self) -> tuple[int, int]:
        return self.present, self.away

    def get(self, key: Key) -> Member | None:
        return self._members.get(key)

    # --- what happens -------------------------------------------------------------------------------------

    def enter(self, key: Key, encoding: int, data: bytes, grace_ms: int, now_ms: int) -> None:
        """It is present, with this data. Raises `limit_exceeded`."""
        known = self._members.get(key)
        if known is None and len(self._members) >= MEMBERS_MAX:
            text = f"the channel has {MEMBERS_MAX} members"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="members", value=MEMBERS_MAX)
        since_ms = known.since_ms if known is not None and known.status == PRESENT else now_ms
        member = Member(key, PRESENT, encoding, data, since_ms, grace_ms)
        if member != known:
            self._put(member)

    def leave(self, key: Key, reason: str, now_ms: int) -> None:
        """It is not a member any longer. Nothing happens if it was none."""
        known = self._members.pop(key, None)
        if known is not None:
            del self._keys[bisect_left(self._keys, key)]
            self._count(known, -1)
            self.changes[key] = known._replace(status=LEFT, since_ms=now_ms, reason=reason)

    def lose(self, key: Key, now_ms: int, steady_ms: int) -> None:
        """Its connection has ended: it is away until its time of grace is over, if it has any."""
        known = self._members[key]
        if not known.grace_ms:
            self.leave(key, "timed_out", now_ms)
            return
        deadline_ms = steady_ms + known.grace_ms
        self._put(known._replace(status=AWAY, since_ms=now_ms, deadline_ms=deadline_ms))
        heappush(self._deadlines, (deadline_ms, key))
        if len(self._deadlines) > 2 * self.away + _STALE_DEADLINES:
            self._deadlines = [entry for entry in self._deadlines if self._counts(*entry)]
            heapify(self._deadlines)

    def lapse(self, now_ms: int, steady_ms: int) -> None:
        """Those whose time of grace is over have left."""
        while (deadline_ms := self.next_deadline_ms()) is not None and deadline_ms <= steady_ms:
            self.leave(self._deadlines[0][1], "timed_out", now_ms)

    def clear(self, reason: str, now_ms: int) -> None:
        """All have left."""
        for key in reversed(self._keys.copy()):
            self.leave(key, reason, now_ms)

    # --- what is known ------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """When the next time of grace is over; None when nobody is away."""
        while self._deadlines and not self._counts(*self._deadlines[0]):
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def page(self, after: Key | None, count: int, bytes_max: int) -> Page:
        """The members behind `after`: at most `count`, and rows of `bytes_max` together, but one if there is one."""
        start = end = 0 if after is None else bisect_right(self._keys, after)
        room = bytes_max
        members: list[Member] = []
        while end < len(self._keys) and end - start < count:
            member = self._members[self._keys[end]]
            room -= member.row_bytes
            if room < 0 and members:
                break
            members.append(member)
            end += 1
        return Page(members, end < len(self._keys))

    def take_changes(self) -> list[Member]:
        changes, self.changes = self.changes, {}
        return list(changes.values())

    # --- small help ---------------------------------------------------------------------------------------

    def _put(self, member: Member) -> None:
        known = self._members.get(member.key)
        if known is None:
            insort(self._keys, member.key)
        else:
            self._count(known, -1)
        self._members[member.key] = self.changes[member.key] = member
        self._count(member, 1)

    def _count(self, member: Member, by: int) -> None:
        if member.status == PRESENT:
            self.present += by
        else:
            self.away += by

    def _counts(self, deadline_ms: int, key: Key) -> bool:
        """Whether this deadline is still one: its member may be back, or have left."""
        member = self._members.get(key)
        return member is not None and member.status == AWAY and member.deadline_ms == deadline_ms
