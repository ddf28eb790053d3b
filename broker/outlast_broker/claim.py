"""The claims of one channel (PROTOCOL.md 6.13). Pure: told who asks, and when, it says who may go on.

A row holds what is known of a claim but its result: ten thousand of them are in memory while the channel is, results
are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from heapq import nsmallest
from typing import NamedTuple

import msgpack
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CLAIMS_MAX

# Of a full channel so many are forgotten at a time, so that not every new claim looks for the oldest.
FORGOTTEN_AT_ONCE = 100
KEPT_MS = 86_400_000


class Status(IntEnum):
    """The number on disk; the lower-case name is what clients are told."""

    FREE = 0
    IN_PROGRESS = 1
    DONE = 2


class Asked(NamedTuple):
    """Who asks, and for how long. `nonce` tells one request that is sent again from another's, 0: it does not."""

    holder: str
    ttl_ms: int
    nonce: int


class Claim(NamedTuple):
    """`token` and `holder` are those of the last grant. `time_ms` is when it got its status, `renewed_ms` when it was
    granted or extended last.

    On disk it is a msgpack array; a later version appends fields with a default.
    """

    status: Status
    token: int
    attempt: int
    holder: str
    nonce: int
    ttl_ms: int
    time_ms: int
    renewed_ms: int

    @property
    def until_ms(self) -> int:
        return self.renewed_ms + self.ttl_ms

    def seen(self, now_ms: int) -> Claim:
        """One that was not renewed in time is free since then."""
        if self.status is Status.IN_PROGRESS and now_ms >= self.until_ms:
            return self._replace(status=Status.FREE, time_ms=self.until_ms)
        return self

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb(self)
        return packed


def decode(value: bytes) -> Claim:
    status, *rest = msgpack.unpackb(value)
    return Claim(Status(status), *rest)


class Claims:
    """Includes what is accepted and not on disk yet: answers that reveal it wait for the commit.

    `token` is the highest that was ever given.
    """

    __slots__ = ("_claims", "_unsaved", "token")

    def __init__(self, claims: dict[str, Claim], token: int) -> None:
        self._claims = claims
        self.token = token
        # Results that are on their way to disk.
        self._unsaved: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def get(self, key: str, now_ms: int) -> Claim | None:
        claim = self._claims.get(key)
        return None if claim is None else claim.seen(now_ms)

    def rows(self, after: str | None, count: int, now_ms: int) -> list[tuple[str, Claim]]:
        """Keys and claims in byte order of the keys, so many of those behind `after`."""
        start = (after or "").encode()
        keys = sorted([encoded for encoded in map(str.encode, self._claims) if encoded > start])
        return [(key, self._claims[key].seen(now_ms)) for key in map(bytes.decode, keys[:count])]

    # --- being granted ------------------------------------------------------------------------------------

    def asked_before(self, key: str, nonce: int) -> Claim | None:
        """What the request with this nonce was granted, if nobody was after it."""
        claim = self._claims.get(key)
        same = claim is not None and claim.status is Status.IN_PROGRESS and claim.nonce == nonce != 0
        return claim if same else None

    def grant(self, key: str, asked: Asked, now_ms: int) -> Claim:
        """The caller has seen that it is free, and has made room."""
        known = self._claims.get(key)
        self.token += 1
        attempt = known.attempt + 1 if known else 1
        fresh = Claim(Status.IN_PROGRESS, self.token, attempt, asked.holder, asked.nonce, asked.ttl_ms, now_ms, now_ms)
        return self._put(key, fresh)

    def make_room(self, key: str, now_ms: int) -> list[str]:
        """The keys that are forgotten so that there is room for this one. Raises `limit_exceeded`."""
        if key in self._claims or len(self._claims) < CLAIMS_MAX:
            return []
        seen = ((claim.seen(now_ms), each) for each, claim in self._claims.items())
        resting = ((claim.time_ms, each) for claim, each in seen if claim.status is not Status.IN_PROGRESS)
        forgotten = [each for time_ms, each in nsmallest(FORGOTTEN_AT_ONCE, resting) if time_ms + KEPT_MS <= now_ms]
        if not forgotten:
            text = f"the channel has {CLAIMS_MAX} claims, none of them over for a day"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="claims", value=CLAIMS_MAX)
        for each in forgotten:
            del self._claims[each]
        return forgotten

    # --- under a token ------------------------------------------------------------------------------------

    def settle(self, key: str, token: int, now_ms: int) -> Claim | None:
        """The claim, done now; None when this token has done it before. Raises `fenced`."""
        known = self._claims.get(key)
        if known is not None and known.status is Status.DONE and known.token == token:
            return None
        return self._put(key, self._in_force(key, token)._replace(status=Status.DONE, time_ms=now_ms))

    def extend(self, key: str, token: int, now_ms: int) -> Claim:
        """Raises `fenced`."""
        return self._put(key, self._in_force(key, token)._replace(renewed_ms=now_ms))

    def abandon(self, key: str, token: int, now_ms: int) -> Claim:
        """Raises `fenced`."""
        return self._put(key, self._in_force(key, token)._replace(status=Status.FREE, time_ms=now_ms))

    def _in_force(self, key: str, token: int) -> Claim:
        """A token is in force until another is given: who is late and was not overtaken harms nobody."""
        known = self._claims.get(key)
        if known is None or known.status is not Status.IN_PROGRESS:
            raise _fenced(key, token, 0)
        if known.token != token:
            raise _fenced(key, token, known.token)
        return known

    def _put(self, key: str, claim: Claim) -> Claim:
        self._claims[key] = claim
        return claim

    # --- results on their way to disk ---------------------------------------------------------------------

    def unsaved(self, key: str) -> bytes | None:
        """The result of a claim that is done and not on disk yet."""
        return self._unsaved.get(key)

    def keep(self, key: str, result: bytes) -> None:
        self._unsaved[key] = result

    def saved(self, key: str) -> None:
        self._unsaved.pop(key, None)


def _fenced(key: str, token: int, in_force: int) -> ProtocolError:
    text = f"token {token} is not in force for claim {key!r}"
    return ProtocolError(ErrorCode.FENCED, text, token=in_force)


def load(claims: Mapping[str, bytes], token: int, started_ms: int, now_ms: int) -> Claims:
    """As stored: `claims` by their keys. The start of the broker counts as an extension, and none lies ahead."""
    known = {key: decode(value) for key, value in claims.items()}
    return Claims({key: _extended(claim, started_ms, now_ms) for key, claim in known.items()}, token)


def _extended(claim: Claim, started_ms: int, now_ms: int) -> Claim:
    if claim.status is not Status.IN_PROGRESS:
        return claim
    return claim._replace(renewed_ms=max(min(claim.renewed_ms, now_ms), started_ms))
