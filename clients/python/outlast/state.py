"""A channel's shared state: keys and values that every client reads and writes (PROTOCOL.md 4.6).

What is written are records of the channel's log, so state and messages have one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from outlast_protocol import Data, Position, frames, session_frames
from outlast_protocol.limits import STATE_KEY_BYTES_MAX
from outlast_protocol.operations import WHOLE_MAX, Op, Operation
from outlast_protocol.position import OFFSET_MAX

from .link import Link
from .options import check_whole
from .outbox import Lane, Outbox
from .publisher import Leased, fence_of
from .records import Ack, decoded
from .replica import StateEntry, StateSnapshot
from .rows import Row, make_row
from .state_watch import StateWatch
from .subscription import Subscription


class Set(NamedTuple):
    """Writes `value`. With `version` only if that is the key's, 0: only if there is no such key."""

    key: str
    value: Data
    version: int | None = None


class Delete(NamedTuple):
    """With `version` only if that is the key's. A key that does not exist is no error."""

    key: str
    version: int | None = None


class Increment(NamedTuple):
    """Adds the whole number `by`, which may be negative; a key that does not exist counts as 0."""

    key: str
    by: int = 1


Change: TypeAlias = Set | Delete | Increment


class SharedState:
    """Made by `channel.state`, without I/O.

    Values are bytes, text or JSON. A key is 1 to 255 bytes of UTF-8 without control characters; a value has up to
    65,536 bytes, a channel 1,000 keys and 524,288 bytes of keys and values. Writing is publishing: it returns when it
    is on disk, over as many connections as that takes, and is done once. The Ack's `offset` is the key's new version.
    """

    def __init__(
        self, name: str, link: Link, outbox: Outbox, lane: Lane, subscribe: Callable[[], Subscription]
    ) -> None:
        self._name = name
        self._link = link
        self._outbox = outbox
        self._lane = lane
        self._subscribe = subscribe

    # --- reading ------------------------------------------------------------------------------------------

    async def get(self) -> StateSnapshot:
        """All keys and values, as of one position. Raises UnknownChannel."""
        reply = await self._link.call_again(lambda request: session_frames.State(request, self._name), frames.Reply)
        result = reply.result
        return StateSnapshot(entries_from(result["state"]), Position(result["epoch"], result["last"]))

    async def get_value(self, key: str, default: Data = None) -> Data:
        """One key's value, or `default` if there is no such key. Raises UnknownChannel. Reads as much as `get` does."""
        return (await self.get()).get(check_key(key), default)

    def watch(self) -> StateWatch:
        """A live replica, for `async with`: see StateWatch. It reads all that comes over the channel."""
        return StateWatch(self._subscribe(), self.get)

    # --- writing ------------------------------------------------------------------------------------------

    async def set(self, key: str, value: Data, version: int | None = None, *, lease: Leased | None = None) -> Ack:
        """With `version` only if that is the key's, 0: only if there is no such key; else VersionMismatch."""
        return await self._write([Set(key, value, version)], lease)

    async def delete(self, key: str, version: int | None = None, *, lease: Leased | None = None) -> Ack:
        """As `set`. A key that does not exist is no error."""
        return await self._write([Delete(key, version)], lease)

    async def increment(self, key: str, by: int = 1, *, lease: Leased | None = None) -> Ack:
        """Adds a whole number, of which none is lost when many do. Raises NotANumber."""
        return await self._write([Increment(key, by)], lease)

    async def update(self, changes: Iterable[Change], *, lease: Leased | None = None) -> Ack:
        """Does all of them in order, or none: what one of them is refused with is raised."""
        listed = list(changes)
        if not listed:
            raise ValueError("update needs at least one change: Set, Delete or Increment")
        return await self._write(listed, lease)

    async def _write(self, changes: Sequence[Change], lease: Leased | None) -> Ack:
        rows = [_row(change) for change in changes]
        # A refusal would hit those that happened to go in the same batch, and send them again one by one.
        alone = len(rows) > 1 or any(not isinstance(each, Increment) and each.version is not None for each in changes)
        return await (await self._outbox.admit(self._lane, rows, None, alone, fence_of(lease)))


def _row(change: Change) -> Row:
    """Raises TypeError or ValueError for what no broker takes."""
    if not isinstance(change, Set | Delete | Increment):
        raise TypeError(f"{type(change).__name__} is no change of state: expected Set, Delete or Increment")
    key = check_key(change.key)
    if isinstance(change, Increment):
        by = check_whole("by", change.by, -WHOLE_MAX, WHOLE_MAX)
        return make_row(b"", operation=Operation(Op.INCREMENT, key=key, by=by))
    version = None if change.version is None else check_whole("version", change.version, 0, OFFSET_MAX)
    if isinstance(change, Delete):
        return make_row(b"", operation=Operation(Op.UNSET, key=key, version=version))
    return make_row(change.value, operation=Operation(Op.SET, key=key, version=version))


def check_key(key: object) -> str:
    """`key` if it is 1 to 255 bytes of UTF-8 without control characters (PROTOCOL.md 4.6)."""
    if not isinstance(key, str):
        raise TypeError(f"a key is text, not {type(key).__name__}")
    size = len(key.encode(errors="surrogatepass"))
    if not 1 <= size <= STATE_KEY_BYTES_MAX:
        raise ValueError(f"the key has {size} bytes, expected 1 to {STATE_KEY_BYTES_MAX}")
    if any(letter < "\x20" or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in key):
        raise ValueError(f"the key {key!r} has a control character or a lone surrogate: leave it out")
    return key


def entries_from(rows: Iterable[Sequence[Any]]) -> dict[str, StateEntry]:
    """The state that rows of STATE or ATTACHED say: [key, version, time_ms, client_id, encoding, data]."""
    return {
        key: StateEntry(decoded(encoding, data), version, client_id, time_ms)
        for key, version, time_ms, client_id, encoding, data in rows
    }
