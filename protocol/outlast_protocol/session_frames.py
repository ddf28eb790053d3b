"""The frames of sessions, one class each: attach, messages, state, presence, leases, claims (PROTOCOL.md 6.10 to 6.14).

`frames.py` has the others, and the table of all.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Attach(NamedTuple):
    """A Subscribe that also asks what the channel is now. `raw`: its history operation by operation."""

    request: int
    number: int
    credit: int
    after: int | None = None
    epoch: int | None = None
    start: str | None = None
    last: int | None = None
    since_ms: int | None = None
    cursor: str | None = None
    raw: bool = False
    presence: bool = True


class Attached(NamedTuple):
    """All as of offset `through`; history goes on after `after`. `messages` are the open ones.

    `state` has a row [key, version, time_ms, client_id, encoding, data] for each key.
    """

    request: int
    after: int
    through: int
    epoch: int
    first: int
    messages: list[int]
    state: list[Any]
    resync: str | None = None


class Ephemeral(NamedTuple):
    """A batch that is not stored. From the broker `request` is 0."""

    request: int
    number: int
    batch: bytes


class Message(NamedTuple):
    """Answered by a Page with one message, folded through its place."""

    request: int
    number: int
    message: int


class State(NamedTuple):
    request: int
    channel: str


class Enter(NamedTuple):
    """Sent again it updates the member's data, and binds the member to this connection."""

    request: int
    number: int
    member: int
    encoding: int = 0
    data: bytes = b""
    grace_ms: int = 10_000


class Leave(NamedTuple):
    request: int
    number: int
    member: int


class Members(NamedTuple):
    """A channel's members in order of client id and member, from the one behind `after_client`, `after_member`."""

    request: int
    channel: str
    after_client: str | None = None
    after_member: int | None = None
    limit: int = 100


class Watch(NamedTuple):
    """Without `rows` only counts are sent."""

    request: int
    number: int
    rows: bool = True


class Unwatch(NamedTuple):
    request: int
    number: int


class Presence(NamedTuple):
    """Rows of `members` are [client_id, member, status, encoding, data, time_ms, reason].

    A snapshot, or changes, may come in several frames, of which all but the last say `more`.
    """

    number: int
    present: int
    away: int
    members: list[Any] = []
    snapshot: bool = False
    more: bool = False


class Lease(NamedTuple):
    """Sent again under the same `nonce` it is answered as it was the first time; 0 is none."""

    request: int
    number: int
    lease: str
    ttl_ms: int
    take_over: bool = False
    nonce: int = 0


class Renew(NamedTuple):
    request: int
    number: int
    token: int


class Release(NamedTuple):
    request: int
    number: int
    token: int


class Leases(NamedTuple):
    request: int
    channel: str


class Claim(NamedTuple):
    """`nonce` is random and the same when the request is sent again: it is answered alike then. 0: there is none."""

    request: int
    number: int
    key: str
    ttl_ms: int
    nonce: int = 0


class Settle(NamedTuple):
    """The claim is done: `data` is what every later Claim is told."""

    request: int
    number: int
    key: str
    token: int
    encoding: int = 0
    data: bytes = b""


class Extend(NamedTuple):
    request: int
    number: int
    key: str
    token: int


class Abandon(NamedTuple):
    request: int
    number: int
    key: str
    token: int


class Claims(NamedTuple):
    """A channel's claims in byte order of their keys, from the one after `after`."""

    request: int
    channel: str
    after: str | None = None
    limit: int = 100
