"""What one party saw of a channel: how many records, whether in dense order, and a checksum of them all."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import NamedTuple

from outlast import Data


class Account(NamedTuple):
    """A finished tally. `gaps` counts records that are missing, `repeats` those that came again."""

    records: int
    gaps: int
    repeats: int
    sha256: str


class Tally:
    """Counts records from offset 1 on, or from where an earlier tally stopped."""

    def __init__(self, records: int = 0, gaps: int = 0, repeats: int = 0, last: int = 0) -> None:
        self.records = records
        self.gaps = gaps
        self.repeats = repeats
        self.last = last
        self._hash = sha256()

    def add(self, offset: int, data: bytes) -> None:
        self.records += 1
        self.gaps += max(offset - self.last - 1, 0)
        self.repeats += offset <= self.last
        self.last = max(offset, self.last)
        self._hash.update(data)

    def add_stored(self, data: bytes) -> None:
        """Data of records that are counted already."""
        self._hash.update(data)

    def account(self) -> Account:
        return Account(self.records, self.gaps, self.repeats, self._hash.hexdigest())


def data_bytes(data: Data) -> bytes:
    """The same bytes for the same data, at whichever end."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
