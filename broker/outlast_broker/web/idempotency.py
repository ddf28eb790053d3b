"""The keys under which records were published by HTTP, so that a request that is sent again is stored once. Pure.

They are rows beside the log, written in the commit that stores the records. They are no producers: a channel remembers
64 of those, and a flow of single requests would make it forget the agents.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

KEYS_MAX = 1_000
KEY_ROW = b"i"
_ROW = Struct("<QII")


class Stored(NamedTuple):
    """What was published under a key: records from `first` on; `crc` is that of their batch."""

    first: int
    records: int
    crc: int

    @property
    def last(self) -> int:
        return self.first + self.records - 1

    def encode(self) -> bytes:
        return _ROW.pack(*self)


def row_key(client_id: str, key: str) -> bytes:
    """Everybody's keys are their own."""
    return KEY_ROW + blake2b(f"{client_id}\0{key}".encode(), digest_size=16).digest()


class Keys:
    """The newest KEYS_MAX keys of one channel, by their rows' keys; includes what is not on disk yet."""

    __slots__ = ("_stored",)

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        known = [(key, Stored(*_ROW.unpack(value))) for key, value in rows.items()]
        self._stored = dict(sorted(known, key=lambda item: item[1].first))

    def get(self, key: bytes) -> Stored | None:
        return self._stored.get(key)

    def note(self, key: bytes, stored: Stored) -> list[bytes]:
        """Remembers a new key; returns those that are forgotten for it."""
        self._stored[key] = stored
        forgotten = list(self._stored)[: max(0, len(self._stored) - KEYS_MAX)]
        for each in forgotten:
            del self._stored[each]
        return forgotten
