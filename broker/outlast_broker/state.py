"""What operations do to a channel's state (PROTOCOL.md 4.6). Pure: told what a key holds, it says what it will hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgpack
from outlast_protocol import Encoding, ErrorCode, ProtocolError
from outlast_protocol.limits import (
    STATE_BYTES_MAX,
    STATE_KEY_BYTES_MAX,
    STATE_KEYS_MAX,
    STATE_VALUE_BYTES_MAX,
)
from outlast_protocol.operations import Op, Operation
from outlast_protocol.state_value import increased, read_whole

from .names import is_name


class Entry(NamedTuple):
    """A key's value. `version` is the offset that wrote it, `time_ms` and `client` that record's."""

    version: int
    time_ms: int
    client: str
    encoding: int
    data: bytes

    def pack(self) -> bytes:
        """As the store keeps it: a msgpack array, to which a later format appends."""
        packed: bytes = msgpack.packb(self)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Entry:
        return cls(*msgpack.unpackb(packed))

    def row(self, key: str) -> list[Any]:
        """As STATE and ATTACHED have it: [key, version, time_ms, client_id, encoding, data]."""
        return [key, *self]


# What a key holds before an operation; None: there is no such key.
Get = Callable[[str], Entry | None]


class Totals(NamedTuple):
    """How many keys a state has, and how many bytes of keys and values."""

    keys: int = 0
    bytes: int = 0

    def after(self, key: str, old: Entry | None, new: Entry | None) -> Totals:
        """The totals once `key` holds `new` in place of `old`. Raises `limit_exceeded`; what shrinks may always."""
        keys = self.keys + (new is not None) - (old is not None)
        size = self.bytes + _size(key, new) - _size(key, old)
        if keys > max(STATE_KEYS_MAX, self.keys):
            raise _too_much(f"the channel's state has {self.keys} keys", "state_keys", STATE_KEYS_MAX)
        if size > max(STATE_BYTES_MAX, self.bytes):
            raise _too_much(f"the channel's state would have {size} bytes", "state_bytes", STATE_BYTES_MAX)
        return Totals(keys, size)


def _size(key: str, entry: Entry | None) -> int:
    return 0 if entry is None else len(key.encode()) + len(entry.data)


def totals_of(entries: Mapping[str, Entry]) -> Totals:
    """Counted anew, as after a start."""
    return Totals(len(entries), sum(_size(key, entry) for key, entry in entries.items()))


def apply_state(
    operation: Operation, record_encoding: int, data: bytes, offset: int, time_ms: int, client: str, get: Get
) -> Entry | None:
    """What the operation's key holds once the record at `offset` is done; None: there is no such key any more.

    Raises `bad_batch`, `limit_exceeded`, `version_mismatch` or `not_a_number`. The state's totals are `Totals.after`'s.
    """
    _check(operation, data)
    old = get(operation.key)
    _check_version(operation, old)
    if operation.op is Op.UNSET:
        return None
    if operation.op is Op.SET:
        return Entry(offset, time_ms, client, record_encoding, data)
    total = increased(operation.key, _number(operation.key, old), operation.by)
    return Entry(offset, time_ms, client, Encoding.JSON, b"%d" % total)


def _check(operation: Operation, data: bytes) -> None:
    """What is wrong whatever the state holds."""
    if len(operation.key) > STATE_KEY_BYTES_MAX or not is_name(operation.key, STATE_KEY_BYTES_MAX):
        text = f"a key is 1 to {STATE_KEY_BYTES_MAX} bytes of UTF-8, no control characters"
        raise ProtocolError(ErrorCode.BAD_BATCH, text)
    if operation.op is not Op.SET and data:
        raise ProtocolError(ErrorCode.BAD_BATCH, f"{operation.op.name.lower()} has no data, not {len(data)} bytes")
    if len(data) > STATE_VALUE_BYTES_MAX:
        text = f"the value of key {operation.key!r} has {len(data)} bytes"
        raise _too_much(text, "state_value_bytes", STATE_VALUE_BYTES_MAX)


def _check_version(operation: Operation, old: Entry | None) -> None:
    version = 0 if old is None else old.version
    if operation.version is not None and operation.version != version:
        text = f"key {operation.key!r} is at version {version}, not {operation.version}"
        raise ProtocolError(ErrorCode.VERSION_MISMATCH, text, key=operation.key, version=version)


def _number(key: str, old: Entry | None) -> int:
    """The number that a key counts as. Raises `not_a_number`."""
    number = 0 if old is None else read_whole(old.encoding, old.data)
    if number is None:
        raise ProtocolError(ErrorCode.NOT_A_NUMBER, f"key {key!r} holds no whole number in JSON", key=key)
    return number


def _too_much(text: str, limit: str, value: int) -> ProtocolError:
    return ProtocolError(ErrorCode.LIMIT_EXCEEDED, f"{text}, allowed are {value}", limit=limit, value=value)
