"""A channel's state as a reader follows it, without any I/O: one snapshot, then the operations of the log.

`Replica` is what the log says now; `Changes` are those that its user has not been handed yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from outlast_protocol import Data, Position, ProtocolError
from outlast_protocol.operations import STATE_OPS, Op
from outlast_protocol.state_value import increased

from .errors import Violation
from .records import Record

# Changes that wait for their user; beyond it, only the newest of each key is left.
CHANGES_KEPT = 1_000


class StateEntry(NamedTuple):
    """What a key holds. `version` is the offset that wrote it, `client_id` and `time_ms` say who and when."""

    value: Data
    version: int
    client_id: str
    time_ms: int


class StateChanged(NamedTuple):
    """One change of one key. `version` is the offset that made it.

    `deleted`: the key is gone, and `value` is None. Of a key that went where its operations cannot be read any more
    (a resync), `version` is the offset by which it was gone, and nobody knows who did it: `client_id` is empty.
    """

    key: str
    value: Data
    version: int
    client_id: str
    deleted: bool
    time_ms: int

    @property
    def entry(self) -> StateEntry | None:
        """What the key holds since; None: it is gone."""
        return None if self.deleted else StateEntry(self.value, self.version, self.client_id, self.time_ms)


class StateSnapshot(Mapping[str, Data]):
    """A channel's state as of `position`: a mapping of keys to values, which does not change any more."""

    def __init__(self, entries: Mapping[str, StateEntry], position: Position) -> None:
        self.entries = entries
        self.position = position

    def __getitem__(self, key: str) -> Data:
        return self.entries[key].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<outlast.StateSnapshot at {self.position}: {dict(self)!r}>"

    def version(self, key: str) -> int:
        """The offset that wrote `key`; 0: there is no such key. As `set` and `delete` take it."""
        entry = self.entries.get(key)
        return 0 if entry is None else entry.version


class Replica:
    """Follows the log from a snapshot on. `position` is that of the last record that is in it."""

    __slots__ = ("entries", "position")

    def __init__(self) -> None:
        self.entries: dict[str, StateEntry] = {}
        self.position = Position(0, 0)

    def reset(self, snapshot: StateSnapshot) -> list[StateChanged]:
        """Goes on from `snapshot`, and says what is different there."""
        old, self.entries = self.entries, dict(snapshot.entries)
        self.position = snapshot.position
        return list(differences(old, self.entries, self.position.offset))

    def apply(self, record: Record) -> StateChanged | None:
        """What the record changed. Nothing if it is known already, or no operation on state. Raises Violation."""
        if record.offset <= self.position.offset:
            return None
        self.position = record.position
        if record.operation is None or record.operation.op not in STATE_OPS:
            return None
        key, gone = record.operation.key, record.operation.op is Op.UNSET
        if gone:
            if self.entries.pop(key, None) is None:
                return None
            return StateChanged(key, None, record.offset, record.client_id, True, record.time_ms)
        value = record.data if record.operation.op is Op.SET else self._sum(key, record.operation.by)
        entry = self.entries[key] = StateEntry(value, record.offset, record.client_id, record.time_ms)
        return _changed(key, entry)

    def _sum(self, key: str, by: int) -> int:
        """The broker has judged it: a sum that cannot be means that this is not the state that the broker has."""
        entry = self.entries.get(key)
        number = 0 if entry is None else entry.value
        if not isinstance(number, int) or isinstance(number, bool):
            raise Violation(f"key {key!r} was incremented, and holds no whole number here")
        try:
            return increased(key, number, by)
        except ProtocolError as error:
            raise Violation(f"key {key!r} was incremented beyond what can be: {error.message}") from None


def differences(old: Mapping[str, StateEntry], new: Mapping[str, StateEntry], offset: int) -> Iterator[StateChanged]:
    """What makes `new`, which is as of `offset`, of `old`: the newest change of each key, in the order of the log."""
    written = [(entry.version, key) for key, entry in new.items() if old.get(key) != entry]
    for _, key in sorted(written):
        yield _changed(key, new[key])
    for key in sorted(old.keys() - new.keys()):
        yield StateChanged(key, None, offset, "", True, 0)


def _changed(key: str, entry: StateEntry) -> StateChanged:
    return StateChanged(key, entry.value, entry.version, entry.client_id, False, entry.time_ms)


class Changes:
    """In bounded memory: a user that lags far behind gets the newest change of each key, and misses no key."""

    __slots__ = ("_lags", "_queue", "_seen")

    def __init__(self, seen: Mapping[str, StateEntry]) -> None:
        self._seen = dict(seen)
        self._queue: deque[StateChanged] = deque()
        self._lags = False

    def add(self, changes: Iterable[StateChanged]) -> None:
        if self._lags:
            return
        self._queue.extend(changes)
        if len(self._queue) > CHANGES_KEPT:
            self._queue.clear()
            self._lags = True

    def take(self, replica: Replica) -> StateChanged | None:
        """The next one; None: the user knows what `replica` holds."""
        if self._lags:
            self._lags = False
            self._queue.extend(differences(self._seen, replica.entries, replica.position.offset))
        if not self._queue:
            return None
        change = self._queue.popleft()
        if change.entry is None:
            self._seen.pop(change.key, None)
        else:
            self._seen[change.key] = change.entry
        return change
