"""Goes through a whole store and says what in it is not as it was written, or does not fit the rest.

A broker may be at work meanwhile: each slice is seen as of one moment and judged by what the store says at that moment.
So no page stays pinned for longer than a slice takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from zlib import crc32

import msgpack
from outlast_protocol import ProtocolError
from outlast_protocol.batch import HEAD, STAMP_BYTES, read_records, spans

from .. import chunk, claim, head, journal, lease, session, state
from ..chunk import Chunk
from ..claiming import CLAIM_ROW, RESULT_ROW, TOKEN_ROW
from ..damage import Damaged
from ..head import Head
from ..journal import Entry
from ..lmdb_file import HEAD_MARK, PAIR, U64, StoreError, StoreFile, View, unsealed
from ..web.idempotency import KEY_ROW, Keys

SLICE_BYTES = 4 << 20
# What an entry costs to look at, however small it is.
ENTRY_BYTES = 32
# So many faults are told in words; all are counted.
FAULTS_TOLD = 100
# What bytes that are not what was written may raise where they are read.
_UNREADABLE = (Damaged, ProtocolError, ValueError, TypeError, IndexError, KeyError, AttributeError)
Check = Callable[[View, bytes, bytes], None]


class Scan:
    """One walk through a store. `faults` are sentences; each record that is damaged is named by channel and offset."""

    def __init__(self, store: StoreFile, every: int = 1) -> None:
        """Of the chunks one in `every` is read to its end, of the others the head."""
        self._store = store
        self._every = every
        self._chunks = 0
        self.faults: list[str] = []
        self.fault_count = self.channels = self.records = 0
        # The channel whose chunks are being gone through, and the offset that its next one begins with, 0: any.
        self._number = self._due_offset = 0

    def run(self) -> Iterator[int]:
        """After each slice: how many bytes it had. What LMDB itself sees is a fault as well, and ends the walk."""
        try:
            yield from self._go_through("store", self._check_store)
            yield from self._go_through("names", self._check_name)
            yield from self._go_through("chunks", self._check_chunk)
            self._check_head_seen()
            yield self._check_journal()
            yield from self._go_through("due", self._check_due)
            yield from self._go_through("doomed", self._check_doomed)
            yield from self._go_through("cursors", self._check_cursor)
            yield from self._go_through("rows", self._check_row)
        except StoreError as error:
            self._note(f"LMDB cannot follow its pages: {error}")

    def _go_through(self, database: str, check: Check) -> Iterator[int]:
        start: bytes | None = b""
        while start is not None:
            size, since, start = 0, start, None
            with self._store.view() as view:
                for key, value in view.items(database, since):
                    if size > SLICE_BYTES:
                        start = key
                        break
                    self._guard(view, key, value, check)
                    size += len(key) + len(value) + ENTRY_BYTES
            yield size

    def _guard(self, view: View, key: bytes, value: bytes, check: Check) -> None:
        try:
            check(view, key, value)
        except _UNREADABLE as error:
            self._note(str(error) if isinstance(error, Damaged) else f"entry {key!r} cannot be read: {error}")

    # --- channels by name ---------------------------------------------------------------------------------

    def _check_store(self, view: View, key: bytes, value: bytes) -> None:
        if key == b"next":
            U64.unpack(unsealed(key, value))

    def _check_name(self, view: View, key: bytes, value: bytes) -> None:
        number = U64.unpack(unsealed(key, value))[0]
        found = _head(view, number)
        if found is None or found.name != key.decode():
            raise Damaged(f"channel {key.decode()!r} has no head under its number {number}")
        self.channels += 1

    # --- chunks and heads ---------------------------------------------------------------------------------

    def _check_chunk(self, view: View, key: bytes, value: bytes) -> None:
        number, first = PAIR.unpack(key)
        if number != self._number:
            self._check_head_seen()
            self._number, self._due_offset = number, 0
        if first == HEAD_MARK:
            self._number = 0
            self._check_head(view, number, head.decode(unsealed(key, value)))
            return
        due, self._due_offset = self._due_offset, 0
        self._chunks += 1
        if self._chunks % self._every == 0:
            _read_chunk(view, number, value)
        begin, last = _facts((key, value), number)
        self.records += last - begin + 1
        if begin != first:
            raise Damaged(f"{_called(view, number)}: the chunk at offset {first} begins with {begin}")
        if due != first:
            _check_place(view, key, number, first)
        self._due_offset = last + 1

    def _check_head_seen(self) -> None:
        """A channel without a head is deleted, and still to be erased."""
        number, self._number = self._number, 0
        with self._store.view() as view:
            if not number or _head_value(view, number) is not None or view.get("doomed", U64.pack(number)) is not None:
                return
            for key, _ in view.items("chunks", PAIR.pack(number, 0)):
                if PAIR.unpack(key)[0] == number:
                    self._note(f"channel number {number} has records and no head")
                break

    def _check_head(self, view: View, number: int, found: Head) -> None:
        called = f"channel {found.name!r}"
        name = view.get("names", found.name.encode())
        if name is None or U64.unpack(unsealed(found.name.encode(), name))[0] != number:
            raise Damaged(f"{called} has a head under number {number} that its name does not lead to")
        stored_next = view.get("store", b"next")
        if stored_next is None or number >= U64.unpack(unsealed(b"next", stored_next))[0]:
            raise Damaged(f"{called} has number {number}, which was not given yet")
        newest = view.before("chunks", PAIR.pack(number, HEAD_MARK))
        last = _facts(newest, number)[1] if newest is not None and _is_of(newest[0], number) else 0
        if last + 1 != found.next and last >= found.first:
            raise Damaged(f"{called}: its chunks end with offset {last}, its head says {found.next - 1}")
        if not last and found.next > found.first:
            raise Damaged(f"{called}: records {found.first} to {found.next - 1} are missing")
        if found.last_chunk and view.get("chunks", PAIR.pack(number, found.last_chunk)) is None:
            raise Damaged(f"{called}: its last chunk, at offset {found.last_chunk}, is missing")

    # --- the journal --------------------------------------------------------------------------------------

    def _check_journal(self) -> int:
        """In one view, for its records go on where the chunks end. It is small: it moves into them all the time."""
        size = due_id = 0
        ends: dict[int, int] = {}
        with self._store.view() as view:
            for key, value in view.items("journal"):
                journal_id = U64.unpack(key)[0]
                if due_id and journal_id != due_id:
                    self._note(f"journal values {due_id} to {journal_id - 1} are missing")
                due_id = journal_id + 1
                self._guard(view, key, value, lambda view, key, value: self._check_entries(view, key, value, ends))
                size += len(value) + ENTRY_BYTES
        return size

    def _check_entries(self, view: View, key: bytes, value: bytes, ends: dict[int, int]) -> None:
        try:
            entries = list(journal.read_entries(value, U64.unpack(key)[0]))
        except Damaged as damage:
            raise Damaged(f"{damage}: {_suspects(view, value)}") from None
        for entry in entries:
            self._check_entry(view, entry, ends)

    def _check_entry(self, view: View, entry: Entry, ends: dict[int, int]) -> None:
        """A batch that a chunk has already is passed over, as at a start."""
        found = _head(view, entry.number)
        if found is None:
            return
        records = read_records(entry.batch)
        span = next(spans(entry.batch))
        end = ends.get(entry.number, found.next)
        if span.offset >= end:
            if span.offset > end:
                raise Damaged(f"channel {found.name!r}: records {end} to {span.offset - 1} are missing")
            ends[entry.number] = span.last + 1
            self.records += len(records)

    # --- what lies beside the log -------------------------------------------------------------------------

    def _check_due(self, view: View, key: bytes, value: bytes) -> None:
        due_ms, number = PAIR.unpack(key)
        if _head_value(view, number) is None:
            raise Damaged(f"channel number {number} is to be looked at some time and has no head")

    def _check_doomed(self, view: View, key: bytes, value: bytes) -> None:
        U64.unpack(key)

    def _check_cursor(self, view: View, key: bytes, value: bytes) -> None:
        number, name = U64.unpack_from(key)[0], key[U64.size :].decode()
        with _named(view, number, f"cursor {name!r}"):
            PAIR.unpack(unsealed(key, value))
        if _head_value(view, number) is None:
            raise Damaged(f"cursor {name!r} belongs to channel number {number}, which has no head")

    def _check_row(self, view: View, key: bytes, value: bytes) -> None:
        number, name = U64.unpack_from(key)[0], key[U64.size :]
        with _named(view, number, f"row {name!r}"):
            _read_row(number, name, unsealed(key, value))

    # --- what is found ------------------------------------------------------------------------------------

    def _note(self, fault: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(fault)


# --- rows -------------------------------------------------------------------------------------------------


def _read_row(number: int, name: bytes, value: bytes) -> object:
    """Kinds that this version does not know have their checksum alone."""
    kind = name[:1]
    if number == 0:
        return lease.read_lease(name, value, 0) if kind == lease.LEASE_ROW else None
    readers: dict[bytes, Callable[[bytes], object]] = {
        session.MESSAGE_ROW: session.unpack_growing,
        session.FOLDED_ROW: session.unpack_growing,
        session.ENTRY_ROW: state.Entry.unpack,
        session.THROUGH_ROW: msgpack.unpackb,
        lease.TOKEN_ROW: lease.read_token,
        CLAIM_ROW: msgpack.unpackb if name == TOKEN_ROW else claim.decode,
        RESULT_ROW: msgpack.unpackb,
        KEY_ROW: lambda row: Keys({name: row}),
    }
    return readers[kind](value) if kind in readers else None


@contextmanager
def _named(view: View, number: int, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever bytes can do to those who read them
        raise Damaged(f"{_called(view, number)}: {what} is damaged ({error})") from None


# --- chunks -----------------------------------------------------------------------------------------------


def _head_value(view: View, number: int) -> bytes | None:
    return view.get("chunks", PAIR.pack(number, HEAD_MARK))


def _head(view: View, number: int) -> Head | None:
    """Raises Damaged."""
    value = _head_value(view, number)
    return None if value is None else head.decode(unsealed(PAIR.pack(number, HEAD_MARK), value))


def _called(view: View, number: int) -> str:
    """A channel by its name, or by its number where its head cannot be read."""
    try:
        found = _head(view, number)
    except _UNREADABLE:
        found = None
    return f"channel number {number}" if found is None else f"channel {found.name!r}"


def _is_of(key: bytes, number: int) -> bool:
    return bool(PAIR.unpack(key)[0] == number)


def _facts(item: tuple[bytes, bytes], number: int) -> tuple[int, int]:
    found = chunk.facts(item[1], number)
    return found.first, found.last


def _check_place(view: View, key: bytes, number: int, first: int) -> None:
    """What comes before this chunk ends where it begins, or retention has taken what came before."""
    previous = view.before("chunks", key)
    if previous is not None and _is_of(previous[0], number):
        last = _facts(previous, number)[1]
        if last + 1 != first:
            raise Damaged(f"{_called(view, number)}: records {last + 1} to {first - 1} are missing")
        return
    found = _head(view, number)
    if found is not None and found.first < first:
        raise Damaged(f"{_called(view, number)}: records {found.first} to {first - 1} are missing")


def _read_chunk(view: View, number: int, value: bytes) -> None:
    """Raises Damaged, with the records that are not what was written."""
    try:
        found = chunk.decode(value, number)
    except Damaged as damage:
        raise Damaged(f"{_called(view, number)}: {_bad_batches(value[chunk.HEAD_BYTES :])} ({damage})") from None
    _check_run(view, number, found)


def _check_run(view: View, number: int, found: Chunk) -> None:
    due, time_ms = found.first, 0
    for span in spans(found.batches):
        if span.offset != due or span.time_ms < time_ms:
            raise Damaged(f"{_called(view, number)}: record {due} is not where it belongs, {span.offset} is there")
        due, time_ms = span.last + 1, span.time_ms
    if due != found.last + 1:
        raise Damaged(f"{_called(view, number)}: records {due} to {found.last} are missing")
    read_records(found.batches)


def _bad_batches(batches: bytes) -> str:
    """Which records of a run are not what was written, as far as one can tell."""
    bad: list[str] = []
    end = 0
    try:
        for span in spans(batches):
            if not _is_whole(batches[span.start : span.end]):
                bad.append(f"{span.offset}" if span.records == 1 else f"{span.offset} to {span.last}")
            end = span.last + 1
    except ProtocolError:
        bad.append(f"{end} and what follows" if end else "all of a chunk")
    return f"damaged: record {', '.join(bad)}" if bad else "damaged: where its records begin and end"


def _is_whole(batch: bytes) -> bool:
    return bool(crc32(batch[STAMP_BYTES:]) == HEAD.unpack_from(batch)[1])


def _suspects(view: View, value: bytes) -> str:
    """Which records a damaged journal value held: those that fail their own checksum, or else all of it."""
    bad: list[str] = []
    try:
        for entry in journal.split_entries(value):
            if not _is_whole(entry.batch):
                offset = HEAD.unpack_from(entry.batch)[2]
                bad.append(f"record {offset} of {_called(view, entry.number)}")
    except Exception:  # whatever bytes can do to those who read them
        bad.append("and what follows in it")
    return ", ".join(bad) or "what it says about its records"
