"""Who is in a channel, and what happens there: the members, the events, and the view that PRESENCE frames make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from outlast_protocol import Data, frames

from .errors import Violation
from .records import decoded, moment

Status: TypeAlias = Literal["present", "away", "left"]
Key: TypeAlias = tuple[str, int]
_STATUSES: tuple[Status, ...] = ("present", "away", "left")


class Member(NamedTuple):
    """One client's presence in a channel, by one handle. A client may have several: `member_id` tells them apart.

    `away` means that its connection was lost and its time of grace runs. `since` is when it got this status, in
    UTC. `reason` says of one that has left why: "left", "timed_out", or "deleted" with its channel.
    """

    client_id: str
    member_id: int
    status: Status
    data: Data
    since: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """What a watch gives. `present` and `away` count the members as of then."""

    present: int
    away: int

    @property
    def occupied(self) -> bool:
        """Whether anybody is there; who is away may come back at any moment."""
        return self.present + self.away > 0


@dataclass(frozen=True, slots=True)
class PresenceSnapshot(PresenceEvent):
    """All members, in the byte order of their client ids. It replaces whatever was known before."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class MemberChanged(PresenceEvent):
    """One member came, changed its data, went away, came back or left: `member` is what it is now."""

    member: Member


@dataclass(frozen=True, slots=True)
class PresenceCounts(PresenceEvent):
    """How many there are, for a watch without members."""


@dataclass(frozen=True, slots=True)
class Occupied(PresenceEvent):
    """Somebody is there now; before, nobody was."""


@dataclass(frozen=True, slots=True)
class Vacated(PresenceEvent):
    """Nobody is there any more."""


def member_from(row: Sequence[Any]) -> Member:
    """A row of PRESENCE or MEMBERS. Raises Violation."""
    try:
        client_id, member_id, status, encoding, data, time_ms, reason = row
        return Member(client_id, member_id, _STATUSES[status], decoded(encoding, data), moment(time_ms), reason)
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise Violation(f"a row of presence makes no sense: {error}") from None


class View:
    """The members of one channel as far as PRESENCE frames have told. `is_whole`: a snapshot has come to its end.

    `has_rows`: what comes has members in it, not counts alone.
    """

    def __init__(self) -> None:
        self._members: dict[Key, Member] = {}
        self._coming: dict[Key, Member] | None = None
        self.present = self.away = 0
        self.is_whole = False
        self.has_rows = False

    def begin(self, has_rows: bool) -> None:
        """A snapshot is about to come; what is known stays until it is whole."""
        self._coming = None
        self.is_whole = False
        self.has_rows = has_rows

    def apply(self, frame: frames.Presence) -> list[PresenceEvent]:
        """What the frame says that was not known. Raises Violation."""
        members = [member_from(row) for row in frame.members]
        if frame.snapshot:
            return self._gather(frame, members)
        events: list[PresenceEvent] = []
        for member in members:
            if self._change(member):
                events.append(MemberChanged(frame.present, frame.away, member))
        if not frame.more:
            self.present, self.away = frame.present, frame.away
        return events

    def _gather(self, frame: frames.Presence, members: list[Member]) -> list[PresenceEvent]:
        coming = self._coming if self._coming is not None else {}
        coming |= {(member.client_id, member.member_id): member for member in members}
        if frame.more:
            self._coming = coming
            return []
        self._members, self._coming = coming, None
        self.present, self.away = frame.present, frame.away
        self.is_whole = True
        return [self.snapshot()]

    def _change(self, member: Member) -> bool:
        key = (member.client_id, member.member_id)
        if member.status == "left":
            return self._members.pop(key, None) is not None
        known = self._members.get(key)
        self._members[key] = member
        return known != member

    def snapshot(self) -> PresenceSnapshot:
        members = sorted(self._members.values(), key=lambda member: (member.client_id.encode(), member.member_id))
        return PresenceSnapshot(self.present, self.away, tuple(members))

    def end(self) -> list[PresenceEvent]:
        """The channel was deleted, and nobody is there."""
        left = [member._replace(status="left", reason="deleted") for member in self._members.values()]
        self._members = {}
        self.present = self.away = 0
        self.begin(self.has_rows)
        return [MemberChanged(0, 0, member) for member in left]
