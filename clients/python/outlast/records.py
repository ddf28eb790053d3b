"""What users get and give: records, messages, acknowledgements, descriptions of channels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from outlast_protocol import Data, Encoding, Headers, Position, Record as StoredRecord
from outlast_protocol.operations import Operation

_UNIX_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_NO_HEADERS: Headers = MappingProxyType({})


class Record(NamedTuple):
    """One record of a channel. `data` is what was published: bytes, text or a JSON value.

    Data that was published as JSON and is none arrives as its bytes. `time_ms` is Unix time in ms at
    which the broker accepted the record, `client_id` says who published it. `operation` says what the record
    does beyond being there: grow a message, or change the state (PROTOCOL.md 4.5, 4.6). `ttl_ms` after `time_ms` nobody
    is given it any more; 0: it has no time to live.
    """

    offset: int
    data: Data
    name: str | None
    headers: Headers
    client_id: str
    time_ms: int
    epoch: int
    operation: Operation | None = None
    ttl_ms: int = 0

    @property
    def position(self) -> Position:
        """Store `str(record.position)` and give it as `after` to go on behind this record."""
        return Position(self.epoch, self.offset)

    @property
    def time(self) -> datetime:
        """`time_ms` as an aware datetime in UTC."""
        return moment(self.time_ms)

    def ack(self) -> None:
        """Says that this record, and all before it, are done with. At once: `subscription.acked()` waits for the disk.

        Raises RuntimeError for a record that did not come from a subscription with a cursor.
        """
        raise RuntimeError('this record came without a cursor: read it by channel.subscribe(cursor="...")')


class Message(NamedTuple):
    """One message for `publish_many`, where data alone does not say enough. `ttl` in seconds: as in `publish`."""

    data: Data
    name: str | None = None
    headers: Headers | None = None
    ttl: float | None = None


class Ack(NamedTuple):
    """What one publish got. It is on disk.

    `offset` is that of its first record, `records` how many it had. `duplicate` says that the broker had
    it already, from before a reconnect; when that is too long ago to remember where, `offset` is 0.
    """

    offset: int
    records: int
    epoch: int
    duplicate: bool

    @property
    def last(self) -> int:
        return self.offset + self.records - 1 if self.offset else 0

    @property
    def offsets(self) -> range:
        """Of all its records, in the order given."""
        return range(self.offset, self.last + 1) if self.offset else range(0)

    @property
    def position(self) -> Position:
        """Of its last record: a subscription `after` it begins with what came next."""
        return Position(self.epoch, self.last)

    async def delivered(self, *, cursor: str, timeout: float | None = 30.0) -> None:
        """Returns when the reader that `cursor` names has acknowledged all of it, on disk.

        Over as many connections as that takes; `timeout` in seconds, None: for ever. Raises NotDelivered when
        the time is up, and UnknownChannel or StaleEpoch when the channel was deleted.
        """
        raise RuntimeError("this Ack was not given by a client: nobody knows where to ask")


class Retention(NamedTuple):
    """What a channel keeps. 0 is "no bound", None the broker's rule."""

    age_ms: int | None = None
    records: int | None = None
    bytes: int | None = None
    idle_ttl_ms: int | None = None


class ChannelSummary(NamedTuple):
    """A channel as lists show it. An empty one has first = last + 1; `last_ms` 0 means no record yet.

    `members` are those who are present or away.
    """

    name: str
    epoch: int
    first: int
    last: int
    bytes: int
    last_ms: int
    subscribers: int
    members: int

    @property
    def position(self) -> Position:
        """Of the last record."""
        return Position(self.epoch, self.last)


class ChannelInfo(NamedTuple):
    """A channel in full. `bytes` is about what it takes on disk; times are Unix time in ms.

    `members` are those who are present or away, `messages` how many are open.
    """

    name: str
    epoch: int
    first: int
    last: int
    bytes: int
    last_ms: int
    created_ms: int
    subscribers: int
    members: int
    messages: int
    retention: Retention

    @property
    def position(self) -> Position:
        """Of the last record: a subscription `after` it begins with what comes next."""
        return Position(self.epoch, self.last)


class ConnectionInfo(NamedTuple):
    """Who is connected to the broker. `id` is the connection's own, and never used again while the broker runs.

    `door` is "tcp", "unix", "websocket" or "http", `address` where the peer is, "" for a Unix socket. `behind` are
    subscriptions that do not get what is published as it comes; `waiting_bytes` wait for the socket to take them.
    """

    id: int
    client_id: str
    agent: str
    door: str
    address: str
    since_ms: int
    channels: int
    subscriptions: int
    behind: int
    waiting_bytes: int


def moment(time_ms: int) -> datetime:
    return _UNIX_ZERO + timedelta(milliseconds=time_ms)


def from_store(stored: Iterable[StoredRecord], epoch: int) -> list[Record]:
    """The user's view of what lay in a batch."""
    return [
        Record(
            offset,
            data if encoding == Encoding.BYTES else decoded(encoding, data),
            name,
            MappingProxyType(headers) if headers else _NO_HEADERS,
            client_id,
            time_ms,
            epoch,
            operation,
            ttl_ms,
        )
        for offset, time_ms, client_id, name, headers, encoding, data, operation, ttl_ms in stored
    ]


def decoded(encoding: int, data: bytes) -> Data:
    """Never fails: nobody has checked what another client called JSON."""
    if encoding == Encoding.BYTES:
        return data
    if encoding == Encoding.TEXT:
        return data.decode("utf-8", "replace")
    try:
        value: Data = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return value


def retention_from(result: Mapping[str, Any]) -> Retention:
    return Retention(*(result.get(key) for key in Retention._fields))


def summary_from(result: Mapping[str, Any]) -> ChannelSummary:
    return ChannelSummary(result["channel"], *(result.get(key, 0) for key in ChannelSummary._fields[1:]))


def connection_from(row: Mapping[str, Any]) -> ConnectionInfo:
    return ConnectionInfo(*(row[key] for key in ConnectionInfo._fields))


def info_from(result: Mapping[str, Any]) -> ChannelInfo:
    plain: list[int] = [result.get(key, 0) for key in ChannelInfo._fields[1:-1]]
    return ChannelInfo._make([result["channel"], *plain, retention_from(result["retention"])])
