"""INFO, LIST, DELETE, TRUNCATE and CONFIGURE: what can be asked of a channel by its name (PROTOCOL.md 6.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode, ProtocolError, frames as f, limits

from . import compacting
from .channel import Channel
from .retention import RETENTION_KEYS

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .head import Head
    from .hub import Hub

# So many rows of the longest names fit one REPLY.
LIST_ROWS_MAX = 2_000


def info(connection: ClientConnection, frame: f.Info) -> None:
    channel = connection.named_channel(frame.channel)
    connection.when_readable(
        frame.request, channel, lambda: connection.reply(frame.request, _describe(connection, channel))
    )


def _describe(connection: ClientConnection, channel: Channel) -> dict[str, Any]:
    rule = connection.engine.rules.of(channel)
    return _summary(channel) | {
        "number": channel.number,
        "created_ms": channel.created_ms,
        **_company(channel),
        "messages": connection.engine.session(channel).open_count,
        "retention": rule.as_dict(),
    }


def list(connection: ClientConnection, frame: f.List) -> None:
    if not 1 <= frame.limit <= limits.PAGE_RECORDS_MAX:
        text = f"limit is {frame.limit}, allowed are 1 to {limits.PAGE_RECORDS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if max(len(frame.prefix.encode()), len((frame.after or "").encode())) > limits.CHANNEL_NAME_BYTES_MAX:
        text = f"prefix and after have at most {limits.CHANNEL_NAME_BYTES_MAX} bytes, as names have"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    connection.pages_asked += 1

    def answer() -> None:
        connection.pages_asked -= 1
        _list(connection, frame)
        connection.go_on()

    connection.after_commit(frame.request, answer)


def _list(connection: ClientConnection, frame: f.List) -> None:
    """As many rows as were asked for and fit a REPLY."""
    count = min(frame.limit, LIST_ROWS_MAX)
    names = _names(connection, frame, count + 1)
    numbers = [number for _, number in names[:count]]
    connection.reply(frame.request, {"channels": _rows(connection.engine.hub, numbers), "more": len(names) > count})


def _rows(hub: Hub, numbers: Sequence[int]) -> Sequence[dict[str, Any]]:
    """A channel that is not in memory is told of by its head, and stays where it is."""
    heads = hub.heads(numbers)
    rows = []
    for number in numbers:
        channel = hub.loaded(number)
        if channel is not None:
            rows.append(_row_of(channel))
        elif number in heads:  # else it is being deleted
            rows.append(_row_from(heads[number]))
    return rows


def _row_of(channel: Channel) -> dict[str, Any]:
    messages = {"messages": channel.session.open_count} if channel.session is not None else {}
    return _summary(channel) | _company(channel) | messages


def _row_from(head: Head) -> dict[str, Any]:
    last = head.next - 1
    return {
        "channel": head.name,
        "epoch": head.epoch,
        "first": head.first,
        "last": last,
        "bytes": head.stored_bytes,
        "last_ms": head.last_ms if last else 0,
        "subscribers": 0,
        "members": 0,
    }


def _names(connection: ClientConnection, frame: f.List, count: int) -> Sequence[tuple[str, int]]:
    """The first names that the client has any right to, and their numbers; what it may not see costs nothing."""
    log = connection.engine.log
    exact, prefixes = connection.identity.capabilities.beginnings(frame.prefix)
    found: set[tuple[str, int]] = set()
    for prefix in prefixes:
        found.update(log.names(prefix, frame.after, count - len(found)))
        if len(found) == count:
            break
    after = (frame.after or "").encode()
    for name in exact:
        if name.encode() > after and (number := log.find(name)) is not None:
            found.add((name, number))
    return sorted(found, key=lambda row: row[0].encode())[:count]


def delete(connection: ClientConnection, frame: f.Delete) -> None:
    channel = connection.named_channel(frame.channel)
    connection.engine.delete(channel, frame.hard)
    if frame.hard:
        compacting.erase(connection, frame.request, channel.epoch)
        return
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"epoch": channel.epoch}))


def truncate(connection: ClientConnection, frame: f.Truncate) -> None:
    channel = connection.named_channel(frame.channel)
    connection.when_readable(frame.request, channel, lambda: _truncate(connection, frame, channel))


def _truncate(connection: ClientConnection, frame: f.Truncate, channel: Channel) -> None:
    if frame.before > channel.last + 1:
        text = f"before {frame.before} is ahead of the last offset, {channel.last}"
        raise ProtocolError(ErrorCode.OFFSET_AHEAD, text, last=channel.last)
    connection.engine.truncate(channel, frame.before)
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"first": channel.first}))


def configure(connection: ClientConnection, frame: f.Configure) -> None:
    channel = connection.named_channel(frame.channel)
    if unknown := frame.retention.keys() - set(RETENTION_KEYS):
        text = f"retention has no {', '.join(sorted(unknown))}; it has {', '.join(RETENTION_KEYS)}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    if max((value or 0 for value in frame.retention.values()), default=0) >= 2**63:
        raise ProtocolError(ErrorCode.BAD_BODY, "a bound of retention is below 2^63; 0 is none")
    own = channel.own_retention | frame.retention
    connection.engine.configure(channel, {key: value for key, value in own.items() if value is not None})
    rule = connection.engine.rules.of(channel)
    connection.after_commit(frame.request, lambda: connection.reply(frame.request, {"retention": rule.as_dict()}))


def _company(channel: Channel) -> dict[str, int]:
    """Who is there: readers, and members that have not left."""
    members = 0 if channel.attendance is None else sum(channel.attendance.roster.counts)
    return {"subscribers": len(channel.readers), "members": members}


def _summary(channel: Channel) -> dict[str, Any]:
    return {
        "channel": channel.name,
        "epoch": channel.epoch,
        "first": channel.first,
        "last": channel.last,
        "bytes": channel.stored_bytes + sum(map(len, channel.tail)),
        "last_ms": channel.last_ms if channel.last else 0,
    }
