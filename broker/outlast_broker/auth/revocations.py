"""Tokens that are not believed any more, though they were signed: by subject up to a time, or by their id. Pure.

Each is a row of the store (`log.Work.rows`, number 0), kept until the last token that it is about has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgpack

from .identity import Identity

REVOCATION_ROW = b"R"
TOKEN_ID_BYTES_MAX = 255
_SUBJECT, _TOKEN = b"s", b"t"


class Revocation(NamedTuple):
    """Of the tokens of `subject` issued before `issued_before_ms`, or of the one with `token_id`; the other is "".

    `until_ms` is when the last of them has expired.
    """

    subject: str
    token_id: str
    issued_before_ms: int
    until_ms: int

    @property
    def name(self) -> str:
        return self.subject or self.token_id

    @property
    def row_key(self) -> bytes:
        return REVOCATION_ROW + (_SUBJECT + self.subject.encode() if self.subject else _TOKEN + self.token_id.encode())

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb(tuple(self))
        return packed

    def covers(self, identity: Identity) -> bool:
        if self.token_id:
            return identity.token_id == self.token_id
        return identity.subject == self.subject and identity.issued_ms < self.issued_before_ms


class Revocations:
    """All that are in force. Those of one subject are one: the latest time counts."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._by_key = {key: Revocation(*msgpack.unpackb(value)) for key, value in rows.items()}

    def add(self, revocation: Revocation) -> Revocation:
        """What is in force of this name from now on."""
        known = self._by_key.get(revocation.row_key)
        if known is not None:
            issued_before_ms = max(known.issued_before_ms, revocation.issued_before_ms)
            until_ms = max(known.until_ms, revocation.until_ms)
            revocation = revocation._replace(issued_before_ms=issued_before_ms, until_ms=until_ms)
        self._by_key[revocation.row_key] = revocation
        return revocation

    def covers(self, identity: Identity) -> bool:
        """Whether this identity is not to be believed any more."""
        about = (Revocation(identity.subject, "", 0, 0), Revocation("", identity.token_id, 0, 0))
        return any((known := self._by_key.get(each.row_key)) and known.covers(identity) for each in about if each.name)

    def prune(self, now_ms: int, needed: Callable[[Revocation], bool]) -> list[bytes]:
        """Forgets those that are about nobody any more; returns the keys of their rows."""
        gone = [key for key, each in self._by_key.items() if each.until_ms <= now_ms and not needed(each)]
        for key in gone:
            del self._by_key[key]
        return gone

    def listed(self, after: str, count: int) -> list[Revocation]:
        """In byte order of their names, those behind `after`."""
        found = sorted(self._by_key.values(), key=lambda each: (each.name.encode(), each.token_id != ""))
        return [each for each in found if each.name.encode() > after.encode()][:count]
