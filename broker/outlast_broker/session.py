"""What a channel is beside its log: its messages that still grow or were just closed, and its state.

All of it follows from the operations in the log (PROTOCOL.md 4.5, 4.6). `judge` says what a batch would change, or
refuses it; it changes nothing. There are two views, for a batch is judged when it comes and told of when it is on disk:

    accepted    as of the channel's `assigned` offset: what the next batch is judged by
    durable     as of its `last`: what readers are told

Rows beside the log keep the accepted view as of a move into chunks; the journal has the operations after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgpack
from outlast_protocol import ErrorCode, ProtocolError, Record
from outlast_protocol.batch import HEAD, common_record, read_records
from outlast_protocol.limits import MESSAGE_BYTES_MAX, OPEN_MESSAGES_MAX, REASON_BYTES_MAX
from outlast_protocol.operations import (
    BROKERS_OWN,
    CLOSED_BY_CLIENTS,
    MESSAGE_OPS,
    STATE_OPS,
    MessageState,
    Op,
    Operation,
)

from .state import Entry, Totals, apply_state, totals_of
from .stretches import Stretch, Stretches
from .sweep import Sweep

if TYPE_CHECKING:
    from .log import Log

# Messages are folded and let go of some time after they are closed.
KEPT_RETRY_MS = 1_000
MESSAGE_ROW, ENTRY_ROW, FOLDED_ROW, THROUGH_ROW = b"m", b"s", b"M", b"x"
# What is read with the channel; what is folded is read when somebody asks for it.
LOADED_ROWS = (MESSAGE_ROW, ENTRY_ROW, THROUGH_ROW)


class Growing(NamedTuple):
    """A growing message as of its latest operation, at `place`. `size` is that of content, name and headers.

    What it holds is found in the log from `base` on: what was before does not count any more. `lies_from` is the first
    offset where something of it lies, as it did before it is folded again.
    """

    message: int
    client: str
    lease: str
    encoding: int
    state: MessageState
    size: int
    place: int
    time_ms: int
    base: int
    lies_from: int
    reason: str = ""
    name: str | None = None
    headers: Mapping[str, str] = {}

    @property
    def is_open(self) -> bool:
        return self.state is MessageState.OPEN

    @property
    def label_size(self) -> int:
        return len((self.name or "").encode()) + sum(len(k.encode()) + len(v.encode()) for k, v in self.headers.items())

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb((*self[:4], int(self.state), *self[5:]))
        return packed


def read_folded(log: Log, number: int, message: int) -> Growing | None:
    """A message that the store holds folded, if retention has left it there."""
    row = log.row(number, message_key(FOLDED_ROW, message))
    return None if row is None else unpack_growing(row)


def unpack_growing(value: bytes) -> Growing:
    row = msgpack.unpackb(value)
    row[4] = MessageState(row[4])
    return Growing(*row)


class Changes(NamedTuple):
    """What one batch changes, whose offsets are `first` to `last`. `pieces` are what its messages grow by, in order.

    `perishes_ms` is when the last of its records with a time to live is over, `over_ms` when the first is, 0: there is
    none. `only_messages`: every record grows one. `opened`: so many messages more are open.
    """

    first: int
    last: int
    messages: dict[int, Growing]
    entries: dict[str, Entry | None]
    totals: Totals
    pieces: list[tuple[int, Op, bytes]]
    perishes_ms: int
    over_ms: int
    only_messages: bool
    opened: int
    time_ms: int


class Author(NamedTuple):
    """Who publishes: a client, and the lease under whose token it does, "" for none. The broker itself has no name."""

    client: str
    lease: str = ""


class Snapshot(NamedTuple):
    """Messages as of `through`. Holds nothing of what they hold: a reader may keep it for long."""

    through: int
    growing: Mapping[int, Growing] = {}
    stretches: tuple[Stretch, ...] = ()


class View:
    """Messages that are open, or closed and not yet folded in the store; and the state."""

    __slots__ = ("entries", "messages")

    def __init__(self, messages: dict[int, Growing], entries: dict[str, Entry]) -> None:
        self.messages = messages
        self.entries = entries

    def merge(self, changes: Changes) -> None:
        self.messages.update(changes.messages)
        for key, entry in changes.entries.items():
            if entry is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = entry


class Contents:
    """What open messages hold, in memory: what is missing here is read from the log. All channels share the bound.

    Names and headers have to be there, so they push contents out, and have no more room than all of it.
    """

    __slots__ = ("_bytes", "_bytes_max", "_kept")

    def __init__(self, bytes_max: int) -> None:
        self._bytes = 0
        self._kept = 0
        self._bytes_max = bytes_max

    def keep(self, size: int) -> None:
        """Counts names and headers; below 0 when they are let go."""
        self._kept += size
        self._bytes += size

    def check_room(self, size: int) -> None:
        """For so much of names and headers. Raises ProtocolError."""
        if self._kept + size > self._bytes_max:
            text = f"the names and headers of open messages take all of {self._bytes_max} bytes: close some"
            detail: dict[str, int | str] = {"limit": "contents_bytes", "retry_after_ms": KEPT_RETRY_MS}
            raise ProtocolError(ErrorCode.RATE_LIMITED, text, **detail)

    def take(self, size: int) -> bool:
        """Whether there is room for `size` more; then it is taken."""
        if self._bytes + size > self._bytes_max:
            return False
        self._bytes += size
        return True

    def give_back(self, size: int) -> None:
        self._bytes -= size


class Session:
    """One channel's. `folded` finds a message that the store holds folded, or once held so, by its number."""

    def __init__(
        self, rows: Mapping[bytes, bytes], folded: Callable[[int], Growing | None], contents: Contents
    ) -> None:
        messages = {int.from_bytes(key[1:]): unpack_growing(rows[key]) for key in rows if key[:1] == MESSAGE_ROW}
        entries = {key[1:].decode(): Entry.unpack(rows[key]) for key in rows if key[:1] == ENTRY_ROW}
        self.accepted = View(messages, entries)
        self.durable = View(dict(messages), dict(entries))
        # Operations up to here are in the rows.
        self.through, perishable_from = msgpack.unpackb(rows.get(THROUGH_ROW, b"\x92\0\0"))
        self.sweep = Sweep(perishable_from)
        self._totals = totals_of(entries)
        self._open = sum(each.is_open for each in messages.values())
        self._folded = folded
        self._pending: deque[Changes] = deque()
        self._written: set[int | str] = set()
        self._contents = contents
        self._contents.keep(sum(each.label_size for each in messages.values()))
        self._stretches = Stretches()
        self.content: dict[int, bytearray] = {}

    # --- what is published --------------------------------------------------------------------------------

    def judge(self, records: Iterable[Record], author: Author, at: int, time_ms: int, first: int = 1) -> Changes:
        """What these records, which get offsets from `at` on, would change; `first` is the lowest that is kept.

        Raises ProtocolError.
        """
        return _Judge(self, author, at, time_ms, first).judge(records)

    def judge_batch(self, batch: bytes, author: Author, at: int, time_ms: int, first: int = 1) -> Changes:
        """As `judge`; a batch of tokens for one message, as most are, is judged in one piece."""
        record = common_record(batch)
        if record is not None and record.operation is not None and record.operation.op is Op.APPEND:
            last = at + HEAD.unpack_from(batch)[7] - 1
            return _Judge(self, author, at, time_ms, first).judge_one(record, last)
        return self.judge(read_records(batch), author, at, time_ms, first)

    def accept(self, changes: Changes) -> None:
        """The batch is in the group that gathers."""
        self._keep(changes.messages)
        self.accepted.merge(changes)
        self._totals = changes.totals
        self._open += changes.opened
        self._written.update(changes.messages, changes.entries)
        if changes.perishes_ms:
            self.sweep.expect(changes.first, changes.last, changes.over_ms)
            self._written.add(0)
        self._pending.append(changes)

    def release(self, last: int) -> None:
        """What was accepted up to `last` is on disk."""
        while self._pending and self._pending[0].last <= last:
            changes = self._pending.popleft()
            self.durable.merge(changes)
            if changes.only_messages:
                self._stretches.extend(changes.first, changes.last, changes.time_ms)
            for message, op, piece in changes.pieces:
                self._grow(message, op, piece)

    def recover(self, records: list[Record], lease: str = "") -> int:
        """A batch from the journal, at start: it was judged before it got there. Returns what it is over at, or 0."""
        last = records[-1].offset
        if last <= self.through:
            return 0
        author = Author(records[0].client_id, lease)
        changes = _Judge(self, author, records[0].offset, records[0].time_ms, trusted=True).judge(records)
        self.accept(changes)
        self.release(last)
        return changes.perishes_ms

    # --- who asks -----------------------------------------------------------------------------------------

    def find(self, message: int, first: int = 1) -> Growing | None:
        """A message as accepted, wherever it is; `first` is the lowest offset that is kept."""
        return self.accepted.messages.get(message) or self.find_folded(message, first)

    def find_folded(self, message: int, first: int) -> Growing | None:
        """A message that the store holds folded: that record is its base."""
        folded = self._folded(message)
        if folded is None or folded.place < first:
            return None
        return folded._replace(base=folded.place, lies_from=folded.place)

    def open_under(self, lease: str) -> list[int]:
        """The open messages that belong to a lease, as accepted."""
        return [each.message for each in self.accepted.messages.values() if each.is_open and each.lease == lease]

    def check_room(self, label_size: int) -> None:
        """For one more message. Raises ProtocolError."""
        self._contents.check_room(label_size)

    @property
    def totals(self) -> Totals:
        return self._totals

    @property
    def open_count(self) -> int:
        """How many messages are open, as accepted."""
        return self._open

    def snapshot(self, first: int, through: int) -> Snapshot:
        """As of the channel's last offset; `first` is the lowest that is kept."""
        return Snapshot(through, dict(self.durable.messages), self._stretches.kept_from(first))

    def contents_of(self, growing: Mapping[int, Growing]) -> dict[int, tuple[bytearray, int]]:
        """What these messages hold, as far as it is in memory: a content, and how much of it was there at their time.

        A content only grows at its end, as long as the message has the same base.
        """
        contents: dict[int, tuple[bytearray, int]] = {}
        for message, content in self.content.items():
            each = growing.get(message)
            if each is not None and each.base == self.durable.messages[message].base:
                contents[message] = (content, each.size - each.label_size)
        return contents

    def learn(self, growing: Growing, content: bytes) -> None:
        """What a message held was found in the log: if nothing was done to it since, that is good to know."""
        message = growing.message
        known = message in self.content or self.durable.messages.get(message) != growing
        if not known and self._contents.take(len(content)):
            self.content[message] = bytearray(content)

    # --- rows ---------------------------------------------------------------------------------------------

    @property
    def unwritten(self) -> bool:
        """Whether only the journal knows of some changes."""
        return bool(self._written)

    def rows(self, assigned: int) -> dict[bytes, bytes | None]:
        """What has changed since this was asked last, to be written with a move; all as of `assigned`."""
        written, self._written = self._written, set()
        if not written:
            return {}
        rows: dict[bytes, bytes | None] = {}
        for each in written:
            if isinstance(each, str):
                entry = self.accepted.entries.get(each)
                rows[ENTRY_ROW + each.encode()] = None if entry is None else entry.pack()
            elif each:
                growing = self.accepted.messages.get(each)
                rows[message_key(MESSAGE_ROW, each)] = None if growing is None else growing.pack()
        self.through = assigned
        rows[THROUGH_ROW] = self.pack_through()
        return rows

    def pack_through(self) -> bytes:
        packed: bytes = msgpack.packb((self.through, self.sweep.first))
        return packed

    def stands(self, growing: Growing) -> bool:
        """Whether nothing has been done to the message since it was so."""
        return self.accepted.messages.get(growing.message) == growing

    def was_folded(self, growing: Growing) -> None:
        """The store holds this message folded at its place: it needs no memory any more."""
        if self.stands(growing):
            self._stretches.put_down(growing.place)
            self._forget(growing.message)

    def give_up(self, growing: Growing) -> None:
        """The message has lost its beginning to retention: what is left of it is read as it lies there."""
        self._stretches.forget(growing.lies_from, growing.place)
        self._forget(growing.message)

    def _keep(self, messages: Mapping[int, Growing]) -> None:
        """Counts the names and headers of those that are not there yet."""
        for message, each in messages.items():
            if message not in self.accepted.messages:
                self._contents.keep(each.label_size)

    def _forget(self, message: int) -> None:
        growing = self.accepted.messages.pop(message, None)
        if growing is not None:
            self._contents.keep(-growing.label_size)
        self.durable.messages.pop(message, None)
        self._written.discard(message)
        self._drop_content(message)

    # --- content ------------------------------------------------------------------------------------------

    def _grow(self, message: int, op: Op, piece: bytes) -> None:
        if op in _ANEW:
            self._drop_content(message)
            if self._contents.take(len(piece)):
                self.content[message] = bytearray(piece)
        elif (content := self.content.get(message)) is not None:
            if self._contents.take(len(piece)):
                content += piece
            else:
                self._drop_content(message)

    def _drop_content(self, message: int) -> None:
        content = self.content.pop(message, None)
        if content is not None:
            self._contents.give_back(len(content))

    def close(self) -> None:
        """The channel leaves the memory."""
        for message in list(self.content):
            self._drop_content(message)
        self._contents.keep(-sum(each.label_size for each in self.accepted.messages.values()))


def message_key(kind: bytes, message: int) -> bytes:
    return kind + message.to_bytes(8)


class _Judge:
    """One batch on its way through: what came before it in the batch counts, too."""

    def __init__(
        self, session: Session, author: Author, at: int, time_ms: int, first: int = 0, trusted: bool = False
    ) -> None:
        self._session = session
        self._author = author
        self._at = at
        self._time_ms = time_ms
        self._first = first
        self._trusted = trusted
        self._messages: dict[int, Growing] = {}
        self._entries: dict[str, Entry | None] = {}
        self._totals = session.totals
        self._opened_here = 0
        self._pieces: list[tuple[int, Op, bytes]] = []
        self._perishes_ms = self._over_ms = 0
        self._only_messages = True

    def judge(self, records: Iterable[Record]) -> Changes:
        offset = self._at - 1
        for offset, record in enumerate(records, self._at):
            operation = record.operation
            if operation is None or operation.op not in MESSAGE_OPS:
                self._only_messages = False
            if operation is None:
                if record.ttl_ms:
                    over_ms = self._time_ms + record.ttl_ms
                    self._perishes_ms = max(self._perishes_ms, over_ms)
                    self._over_ms = min(self._over_ms or over_ms, over_ms)
            elif operation.op in STATE_OPS:
                self._change_state(operation, record, offset)
            elif operation.op in MESSAGE_OPS:
                self._check_brokers_own(operation)
                self._grow(operation, record, offset)
            else:
                self._check_brokers_own(operation)
        return self._changes(offset)

    def judge_one(self, record: Record, last: int) -> Changes:
        """Appends up to offset `last`, taken together."""
        assert record.operation is not None
        self._grow(record.operation, record, last)
        return self._changes(last)

    def _changes(self, offset: int) -> Changes:
        return Changes(
            self._at, offset, self._messages, self._entries, self._totals, self._pieces, self._perishes_ms,
            self._over_ms, self._only_messages, self._opened_here, self._time_ms,
        )  # fmt: skip

    # --- state --------------------------------------------------------------------------------------------

    def _change_state(self, operation: Operation, record: Record, offset: int) -> None:
        client, before = self._author.client, self._entry(operation.key)
        after = apply_state(operation, record.encoding, record.data, offset, self._time_ms, client, self._entry)
        self._totals = self._totals.after(operation.key, before, after)
        if before is not None or after is not None:
            self._entries[operation.key] = after

    def _entry(self, key: str) -> Entry | None:
        return self._entries[key] if key in self._entries else self._session.accepted.entries.get(key)

    # --- messages -----------------------------------------------------------------------------------------

    def _grow(self, operation: Operation, record: Record, offset: int) -> None:
        if operation.op is Op.OPEN:
            growing = self._opened(record, offset)
        else:
            growing = self._continued(operation, record, self._find(operation.message), offset)
        if growing.size > MESSAGE_BYTES_MAX:
            text = (
                f"message {growing.message} would have {growing.size} bytes of {MESSAGE_BYTES_MAX}: go on in a new one"
            )
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="message_bytes", value=MESSAGE_BYTES_MAX)
        self._messages[growing.message] = growing
        if operation.op in _WITH_CONTENT:
            self._pieces.append((growing.message, operation.op, record.data))

    def _opened(self, record: Record, offset: int) -> Growing:
        self._check_kind(record, record.encoding)
        self._count_open()
        opened = Growing(
            offset, self._author.client, self._author.lease, record.encoding, MessageState.OPEN, 0, offset,
            self._time_ms, offset, offset, "", record.name, record.headers,
        )  # fmt: skip
        if not self._trusted:
            self._session.check_room(opened.label_size)
        return opened._replace(size=opened.label_size + len(record.data))

    def _continued(self, operation: Operation, record: Record, growing: Growing, offset: int) -> Growing:
        """The message after this operation, which is its latest."""
        self._check_bare(operation, record)
        self._check_author(operation, growing)
        if growing.state not in _ALLOWED_WHILE[operation.op]:
            state = growing.state.name.lower()
            text = f"message {growing.message} is {state}: no {operation.op.name.lower()} any more"
            raise ProtocolError(ErrorCode.MESSAGE_CLOSED, text, message=growing.message, state=state)
        if operation.op is Op.APPEND:
            self._check_kind(record, growing.encoding)
            size = growing.size + len(record.data)
            return growing._replace(size=size, place=offset, time_ms=self._time_ms)
        return self._edited(operation, record, growing, offset)._replace(place=offset, time_ms=self._time_ms)

    def _edited(self, operation: Operation, record: Record, growing: Growing, offset: int) -> Growing:
        match operation.op:
            case Op.REPLACE:
                self._check_kind(record, growing.encoding)
                return growing._replace(size=growing.label_size + len(record.data), base=offset)
            case Op.CLOSE:
                self._opened_here -= 1
                return growing._replace(state=operation.state, reason=self._reason(record))
            case Op.REOPEN:
                self._check_empty(operation, record)
                self._count_open()
                return growing._replace(state=MessageState.OPEN, reason="")
        self._check_empty(operation, record)
        self._opened_here -= growing.is_open
        return growing._replace(state=MessageState.REMOVED, size=growing.label_size, base=offset, reason="")

    def _find(self, message: int) -> Growing:
        growing = self._messages.get(message) or self._session.find(message, self._first)
        if growing is None:
            text = f"no message was opened at offset {message}, or it is past retention"
            raise ProtocolError(ErrorCode.UNKNOWN_MESSAGE, text, message=message)
        return growing

    def _check_author(self, operation: Operation, growing: Growing) -> None:
        author = self._author
        if self._trusted or not author.client:
            return
        if growing.lease and growing.lease != author.lease:
            text = f"message {growing.message} belongs to lease {growing.lease!r}: publish under its token"
            raise ProtocolError(ErrorCode.FOREIGN_MESSAGE, text, message=growing.message, lease=growing.lease)
        if not growing.lease and growing.client != author.client:
            text = f"message {growing.message} belongs to client {growing.client!r}"
            raise ProtocolError(ErrorCode.FOREIGN_MESSAGE, text, message=growing.message, client=growing.client)
        if operation.op is Op.CLOSE and operation.state not in CLOSED_BY_CLIENTS:
            raise _bad("only the broker closes a message as interrupted")

    def _check_brokers_own(self, operation: Operation) -> None:
        if operation.op in BROKERS_OWN and self._author.client and not self._trusted:
            raise _bad(f"the operation {operation.op.name.lower()} is the broker's own")

    def _count_open(self) -> None:
        self._opened_here += 1
        if self._session.open_count + self._opened_here > OPEN_MESSAGES_MAX and not self._trusted:
            text = f"the channel has {OPEN_MESSAGES_MAX} open messages: close one first"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="open_messages", value=OPEN_MESSAGES_MAX)

    def _check_kind(self, record: Record, encoding: int) -> None:
        if record.encoding > 1 or record.encoding != encoding:
            raise _bad("what a message grows by is bytes (encoding 0) or text (1), the same from open to close")

    def _reason(self, record: Record) -> str:
        if len(record.data) > REASON_BYTES_MAX:
            raise _bad(f"the reason of a close has {len(record.data)} bytes of {REASON_BYTES_MAX}")
        return record.data.decode("utf-8", "replace")

    def _check_bare(self, operation: Operation, record: Record) -> None:
        """Folded, the message could not say them."""
        if record.name is not None or record.headers:
            raise _bad(f"name and headers are those of open: {operation.op.name.lower()} has none")

    def _check_empty(self, operation: Operation, record: Record) -> None:
        if record.data:
            raise _bad(f"the operation {operation.op.name.lower()} has no data")


_WITH_CONTENT = frozenset({Op.OPEN, Op.APPEND, Op.REPLACE, Op.REMOVE})
_ANEW = frozenset({Op.OPEN, Op.REPLACE, Op.REMOVE})
_EVER = frozenset(MessageState) - {MessageState.REMOVED}
_ALLOWED_WHILE: dict[Op, frozenset[MessageState]] = {
    Op.APPEND: frozenset({MessageState.OPEN}),
    Op.CLOSE: frozenset({MessageState.OPEN}),
    Op.REPLACE: _EVER,
    Op.REMOVE: _EVER,
    Op.REOPEN: frozenset({MessageState.INTERRUPTED}),
}


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_BATCH, message)
