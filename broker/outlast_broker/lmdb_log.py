"""The log on disk: one LMDB environment, whose every commit is synced in full before it returns.

    store     "format", "next"          what this folder holds
    names     name -> number
    chunks    number, first -> chunk    chunk.py
              number, 2^64-1 -> head    head.py; sorts behind the newest chunk and shares its page
    journal   id -> value               journal.py
    due       due_ms, number -> ""      what time alone will change
    doomed    number -> ""              deleted channels whose chunks and rows are still to be erased
    cursors   number, name -> standing  cursor.py
    rows      number, key -> value      what a session needs beside its log: session.py, leasing.py, claiming.py

Keys are big-endian, so their byte order is their number order. Read transactions live within one call:
a longer one would pin pages and make the file grow. docs/decisions/0001 says why a journal and chunks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from operator import itemgetter
from pathlib import Path
from typing import ParamSpec, TypeVar

import lmdb

from . import chunk, clock, head, journal
from .chunk import Chunk
from .cursor import Standing
from .damage import Damaged
from .folder import check_room
from .head import Head
from .journal import Entry
from .lmdb_file import (
    DATA_FILE,
    DATABASES,
    FORMAT,
    HEAD_MARK,
    PAIR,
    U64,
    NewFile,
    check_format,
    open_environment,
    opening_lock,
    put_copy_in_place,
    remove_copy,
    sealed,
    unsealed,
)
from .log import (
    ALL_ROWS,
    CUT_CHUNKS,
    JOURNAL_CUTS,
    Compacted,
    Creation,
    Cut,
    Deletion,
    Due,
    Move,
    Outcome,
    Rewrite,
    Stats,
    Work,
)
from .reader_table import ReaderTable
from .retention import ChunkFacts

P = ParamSpec("P")
R = TypeVar("R")
CUT_ROWS = 4_096
# A copy reads so much at a time, and is caught up with once so few entries were written since.
# In the database "store": a compaction is owed.
OWED = b"owed"
COPY_BYTES = 4 << 20
FEW_TOUCHED = 1_000
Touched = set[tuple[str, bytes]]


def _without_frames(read: Callable[P, R]) -> Callable[P, R]:
    """A traceback would keep the frame that failed, with its transaction and LMDB's slot for it, alive."""

    @wraps(read)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except Damaged as damage:
            text = str(damage)
        raise Damaged(text)

    return call


class GivenUp(Exception):
    """A copy was not finished."""


class _Gate:
    """Readers pass together; what moves the map under their feet goes alone, and first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._closed = False

    def enter(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._closed)
            self._readers += 1

    def leave(self) -> None:
        with self._condition:
            self._readers -= 1
            self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._closed = True
            self._condition.wait_for(lambda: not self._readers)
            try:
                yield
            finally:
                self._closed = False
                self._condition.notify_all()


class LmdbLog:
    """See log.Log. One thread commits; the gate keeps readers out while the map is made larger."""

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self._folder = folder
        self._gate = _Gate()
        self._readers = ReaderTable()
        # Held by a commit, and by what may not come in between two.
        self._writing = threading.Lock()
        # The entries that were written since a copy began, while one is made.
        self._touched: Touched | None = None
        self._leaving = False
        remove_copy(folder)
        self._open(map_bytes)
        self.drop_dead_readers()
        with self._reading("store") as txn:
            self._next: int = U64.unpack(self._get(txn, "store", b"next") or U64.pack(1))[0]
        with self._reading("journal") as txn, txn.cursor() as cursor:
            self._newest: int = U64.unpack(cursor.key())[0] if cursor.last() else 0
            self._oldest: int = U64.unpack(cursor.key())[0] if cursor.first() else self._newest + 1

    def _open(self, map_bytes: int) -> None:
        self._env = open_environment(self._folder, map_bytes)
        if not check_format(self._env, self._folder):
            with self._env.begin(write=True) as txn:
                txn.put(b"format", U64.pack(FORMAT), db=self._env.open_db(b"store", txn=txn))
        self._databases = {name: self._env.open_db(name.encode()) for name in DATABASES}

    # --- writing: the committer's thread ------------------------------------------------------------------

    def commit(self, work: Work) -> Outcome:
        while True:
            try:
                with self._writing:
                    return self._commit(work)
            except lmdb.MapFullError:
                self._grow()

    def _put(self, txn: lmdb.Transaction, database: str, key: bytes, value: bytes, append: bool = False) -> None:
        if self._touched is not None:
            self._touched.add((database, key))
        txn.put(key, value, db=self._databases[database], append=append)

    def _delete(self, txn: lmdb.Transaction, database: str, key: bytes) -> bool:
        if self._touched is not None:
            self._touched.add((database, key))
        return txn.delete(key, db=self._databases[database])

    def _delete_at(self, cursor: lmdb.Cursor, database: str) -> None:
        if self._touched is not None:
            self._touched.add((database, bytes(cursor.key())))
        cursor.delete()

    def _seal(self, txn: lmdb.Transaction, database: str, key: bytes, value: bytes) -> None:
        self._put(txn, database, key, sealed(key, value))

    def _commit(self, work: Work) -> Outcome:
        oldest = self._oldest
        with self._env.begin(write=True) as txn:
            for birth in work.births:
                self._bear(txn, birth)
            newest = self._write_journal(txn, work.journal)
            for rewrite in work.rewrites:
                self._rewrite(txn, rewrite)
            for move in work.moves:
                self._move(txn, move)
            for number, facts in work.heads:
                self._seal(txn, "chunks", PAIR.pack(number, HEAD_MARK), facts.encode())
            for cut in work.cuts:
                self._cut(txn, cut)
            for due in work.dues:
                self._set_due(txn, due)
            # In the order of their keys neighbours share the pages that are copied.
            for (number, name), standing in sorted(work.cursors.items(), key=itemgetter(0)):
                self._set_cursor(txn, U64.pack(number) + name.encode(), standing)
            for (number, key), value in sorted(work.rows.items(), key=itemgetter(0)):
                self._set_row(txn, U64.pack(number) + key, value)
            oldest = self._forget(txn, oldest, work.forget_journal)
            erasing = self._erase_doomed(txn)
            written_us = clock.steady_us()
        self._oldest, self._newest = oldest, newest
        return Outcome(newest, oldest, erasing, clock.steady_us() - written_us)

    def _bear(self, txn: lmdb.Transaction, birth: Creation | Deletion) -> None:
        key = U64.pack(birth.number)
        head_key = key + U64.pack(HEAD_MARK)
        if isinstance(birth, Creation):
            self._seal(txn, "names", birth.head.name.encode(), key)
            self._seal(txn, "chunks", head_key, birth.head.encode())
            self._seal(txn, "store", b"next", U64.pack(self._next))
        else:
            self._delete(txn, "names", birth.name.encode())
            self._delete(txn, "chunks", head_key)
            self._put(txn, "doomed", key, b"")
            if birth.hard:
                self._put(txn, "store", OWED, b"")
            for cursor, _ in self._entries(txn, "cursors", key):
                self._delete(txn, "cursors", cursor)

    def _write_journal(self, txn: lmdb.Transaction, parts: list[bytes]) -> int:
        if not parts:
            return self._newest
        self._put(txn, "journal", U64.pack(self._newest + 1), journal.seal(parts), append=True)
        return self._newest + 1

    def _move(self, txn: lmdb.Transaction, move: Move) -> None:
        chunks = [chunk.make(group) for group in move.groups]
        if move.merge:
            stored = txn.get(PAIR.pack(move.number, move.merge), db=self._databases["chunks"])
            if stored is None:
                raise Damaged(f"channel number {move.number} has no chunk at offset {move.merge}")
            chunks[0] = chunk.decode(bytes(stored), move.number).joined(chunks[0])
        for each in chunks:
            self._put(txn, "chunks", PAIR.pack(move.number, each.first), each.encode())

    def _rewrite(self, txn: lmdb.Transaction, rewrite: Rewrite) -> None:
        for first in rewrite.olds:
            if not self._delete(txn, "chunks", PAIR.pack(rewrite.number, first)):
                raise Damaged(f"channel number {rewrite.number} has no chunk at offset {first}")
        for each in rewrite.news:
            self._put(txn, "chunks", PAIR.pack(rewrite.number, each.first), each.encode())

    def _cut(self, txn: lmdb.Transaction, cut: Cut) -> bool:
        """Whether more is left to erase than one commit should."""
        with txn.cursor(db=self._databases["chunks"]) as cursor:
            there = cursor.set_range(PAIR.pack(cut.number, 0))
            for _ in range(CUT_CHUNKS):
                if not there or not _is_chunk(cursor, cut.number):
                    return False
                if cut.first < HEAD_MARK and chunk.facts(cursor.value(), cut.number).last >= cut.first:
                    return False
                self._delete_at(cursor, "chunks")
                # Deleting moves to the next key, or to none behind the last.
                there = bool(cursor.key())
        return True

    def _set_due(self, txn: lmdb.Transaction, due: Due) -> None:
        if due.old_ms:
            self._delete(txn, "due", PAIR.pack(due.old_ms, due.number))
        if due.new_ms:
            self._put(txn, "due", PAIR.pack(due.new_ms, due.number), b"")

    def _set_cursor(self, txn: lmdb.Transaction, key: bytes, standing: Standing | None) -> None:
        if standing is None:
            self._delete(txn, "cursors", key)
        else:
            self._seal(txn, "cursors", key, PAIR.pack(*standing))

    def _set_row(self, txn: lmdb.Transaction, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._delete(txn, "rows", key)
        else:
            self._seal(txn, "rows", key, value)

    def _forget(self, txn: lmdb.Transaction, oldest: int, through: int) -> int:
        """Erases journal values up to `through`, a slice of them; returns the oldest one left."""
        end = min(through + 1, oldest + JOURNAL_CUTS)
        for journal_id in range(oldest, end):
            self._delete(txn, "journal", U64.pack(journal_id))
        return max(oldest, end)

    def _erase_doomed(self, txn: lmdb.Transaction) -> bool:
        with txn.cursor(db=self._databases["doomed"]) as doomed:
            if not doomed.first():
                return False
            number = U64.unpack(doomed.key())[0]
            if not self._cut(txn, Cut(number, HEAD_MARK)) and not self._cut_rows(txn, number):
                self._delete_at(doomed, "doomed")
            return doomed.first()

    def _cut_rows(self, txn: lmdb.Transaction, number: int) -> bool:
        """Whether more is left to erase than one commit should."""
        prefix = U64.pack(number)
        with txn.cursor(db=self._databases["rows"]) as cursor:
            there = cursor.set_range(prefix)
            for _ in range(CUT_ROWS):
                if not there or not bytes(cursor.key()).startswith(prefix):
                    return False
                self._delete_at(cursor, "rows")
                # Deleting moves to the next key, or to none behind the last.
                there = bool(cursor.key())
        return True

    def _grow(self) -> None:
        with self._writing, self._gate.alone():
            self._env.set_mapsize(2 * self._env.info()["map_size"])

    # --- writing anew: a thread of its own, while commits go on ---------------------------------------------

    def compact(self, reserve_bytes: int) -> Compacted:
        """Copies what is in use into a file of its own, and puts that in the old one's place.

        What is written meanwhile is copied once more, the last of it while commits wait. A failure, or a kill, before
        the very end leaves everything as it was; one at the end fails the next commit, and either file is whole.
        """
        before = self.stats()
        check_room(self._folder, before.used_bytes + reserve_bytes)
        with self._writing:
            self._touched = set()
        try:
            with NewFile(self._folder, self._env.info()["map_size"]) as fresh:
                self._copy(fresh)
                # Whoever closes the old file last waits until its blocks are free: not while commits wait.
                old = (self._folder / DATA_FILE).open("rb")
                with old, opening_lock(self._folder, alone=True), self._writing, self._gate.alone():
                    self._copy_touched(fresh)
                    fresh.finish()
                    self._replace()
        finally:
            with self._writing:
                self._touched = None
        return Compacted(before.file_bytes, self.stats().file_bytes)

    def give_up_compaction(self) -> None:
        self._leaving = True

    def owes_compaction(self) -> bool:
        with self._reading("store") as txn:
            return txn.get(OWED) is not None

    def _copy(self, fresh: NewFile) -> None:
        for database in DATABASES:
            start: bytes | None = b""
            end = self._last_key(database)
            while start is not None:
                if self._leaving:
                    raise GivenUp("the broker is stopping")
                items, start = self._piece(database, start, end)
                fresh.append(database, [item for item in items if (database, item[0]) != ("store", OWED)])
        while True:
            with self._writing:
                assert self._touched is not None, "a copy is being made"
                touched, self._touched = self._touched, set()
            with self._reading("store") as txn:
                self._copy_entries(fresh, txn, touched)
            fresh.sync()
            if len(touched) <= FEW_TOUCHED:
                return

    def _last_key(self, database: str) -> bytes:
        """What comes behind it is written from now on: a copy that followed a journal which grows would not end."""
        with self._reading(database) as txn, txn.cursor() as cursor:
            return bytes(cursor.key()) if cursor.last() else b""

    def _piece(self, database: str, start: bytes, end: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Entries from `start` to `end`, and the key to go on with; a short read transaction pins no pages."""
        items: list[tuple[bytes, bytes]] = []
        size = 0
        with self._reading(database) as txn, txn.cursor() as cursor:
            there = cursor.set_range(start) if start else cursor.first()
            while there:
                key = bytes(cursor.key())
                if key > end:
                    break
                if size > COPY_BYTES:
                    return items, key
                items.append((key, bytes(cursor.value())))
                size += len(key) + len(items[-1][1]) + 32
                there = cursor.next()
        return items, None

    def _copy_touched(self, fresh: NewFile) -> None:
        assert self._touched is not None, "a copy is being made"
        with self._env.begin() as txn:
            self._copy_entries(fresh, txn, self._touched)

    def _copy_entries(self, fresh: NewFile, txn: lmdb.Transaction, touched: Touched) -> None:
        """As they are now; what is gone goes."""
        for database in DATABASES:
            keys = sorted(key for name, key in touched if name == database)
            values = ((key, txn.get(key, db=self._databases[database])) for key in keys)
            fresh.change(database, [(key, None if value is None else bytes(value)) for key, value in values])

    def _replace(self) -> None:
        """The old file's readers in other processes keep it, and its table of readers, until they are done."""
        map_bytes = self._env.info()["map_size"]
        self._env.close()
        put_copy_in_place(self._folder)
        self._open(map_bytes)

    # --- reading: any thread ------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, database: str) -> Iterator[lmdb.Transaction]:
        self._gate.enter()
        try:
            with self._env.begin(db=self._databases[database]) as txn:
                yield txn
        finally:
            self._gate.leave()

    def _get(self, txn: lmdb.Transaction, database: str, key: bytes) -> bytes | None:
        stored = txn.get(key, db=self._databases[database])
        return None if stored is None else unsealed(key, bytes(stored))

    def recover(self) -> Iterator[tuple[int, list[Entry]]]:
        for journal_id in range(self._oldest, self._newest + 1):
            with self._reading("journal") as txn:
                value = txn.get(U64.pack(journal_id))
            if value is None:
                raise Damaged(f"journal value {journal_id} is missing")
            yield journal_id, list(journal.read_entries(bytes(value), journal_id))

    def next_number(self) -> int:
        number = self._next
        self._next += 1
        return number

    @_without_frames
    def find(self, name: str) -> int | None:
        with self._reading("names") as txn:
            stored = self._get(txn, "names", name.encode())
        return U64.unpack(stored)[0] if stored else None

    @_without_frames
    def head(self, number: int) -> Head | None:
        with self._reading("chunks") as txn:
            stored = self._get(txn, "chunks", PAIR.pack(number, HEAD_MARK))
        return head.decode(stored) if stored else None

    @_without_frames
    def heads(self, numbers: Sequence[int]) -> dict[int, Head]:
        with self._reading("chunks") as txn:
            stored = {number: self._get(txn, "chunks", PAIR.pack(number, HEAD_MARK)) for number in numbers}
        return {number: head.decode(value) for number, value in stored.items() if value is not None}

    @_without_frames
    def read(self, number: int, offset: int, bytes_max: int) -> list[Chunk]:
        values: list[bytes] = []
        size = 0
        with self._reading("chunks") as txn, txn.cursor() as cursor:
            there = self._seek(cursor, number, offset)
            while there and _is_chunk(cursor, number):
                value = bytes(cursor.value())
                size += len(value)
                if values and size > bytes_max:
                    break
                values += [value] if chunk.facts(value, number).last >= offset else []
                there = cursor.next()
        return [chunk.decode(value, number) for value in values]

    @_without_frames
    def read_back(self, number: int, offset: int) -> Chunk | None:
        with self._reading("chunks") as txn, txn.cursor() as cursor:
            if not self._seek(cursor, number, offset) or not _is_chunk(cursor, number):
                return None
            value = bytes(cursor.value())
        found = chunk.decode(value, number)
        return found if found.first <= offset else None

    def _seek(self, cursor: lmdb.Cursor, number: int, offset: int) -> bool:
        """To the last chunk that begins at or before `offset`, else to the first one after it."""
        if cursor.set_range(PAIR.pack(number, offset)) and cursor.key() == PAIR.pack(number, offset):
            return True
        if cursor.prev() and _is_chunk(cursor, number):
            return True
        return cursor.set_range(PAIR.pack(number, offset))

    @_without_frames
    def find_time(self, number: int, time_ms: int) -> Chunk | None:
        """Bisects the offsets: times never run backwards within a channel."""
        with self._reading("chunks") as txn, txn.cursor() as cursor:
            low, high = self._bounds(cursor, number)
            while low < high:
                self._seek(cursor, number, (low + high) // 2)
                facts = chunk.facts(cursor.value(), number)
                low, high = (low, facts.first) if facts.last_ms >= time_ms else (facts.last + 1, high)
            if not cursor.set_range(PAIR.pack(number, low)) or not _is_chunk(cursor, number):
                return None
            value = bytes(cursor.value())
        return chunk.decode(value, number)

    def _bounds(self, cursor: lmdb.Cursor, number: int) -> tuple[int, int]:
        """The first offset in any chunk, and the one after the last."""
        if not cursor.set_range(PAIR.pack(number, 0)) or not _is_chunk(cursor, number):
            return 0, 0
        first = chunk.facts(cursor.value(), number).first
        self._seek(cursor, number, HEAD_MARK - 1)
        return first, chunk.facts(cursor.value(), number).last + 1

    @_without_frames
    def oldest(self, number: int, count: int) -> list[ChunkFacts]:
        found: list[ChunkFacts] = []
        with self._reading("chunks") as txn, txn.cursor() as cursor:
            there = cursor.set_range(PAIR.pack(number, 0))
            while there and len(found) < count and _is_chunk(cursor, number):
                found.append(chunk.facts(cursor.value(), number))
                there = cursor.next()
        return found

    @_without_frames
    def names(self, prefix: str, after: str | None, count: int) -> list[tuple[str, int]]:
        start = max(prefix.encode(), (after or "").encode())
        found: list[tuple[str, int]] = []
        with self._reading("names") as txn, txn.cursor() as cursor:
            there = cursor.set_range(start) if start else cursor.first()
            while there and len(found) < count and bytes(cursor.key()).startswith(prefix.encode()):
                name = bytes(cursor.key()).decode()
                if name != after:
                    found.append((name, U64.unpack(unsealed(name.encode(), bytes(cursor.value())))[0]))
                there = cursor.next()
        return found

    @_without_frames
    def cursors(self, number: int) -> dict[str, Standing]:
        with self._reading("cursors") as txn:
            entries = self._entries(txn, "cursors", U64.pack(number))
        return {key[8:].decode(): Standing(*PAIR.unpack(unsealed(key, stored))) for key, stored in entries}

    @_without_frames
    def row(self, number: int, key: bytes) -> bytes | None:
        with self._reading("rows") as txn:
            return self._get(txn, "rows", U64.pack(number) + key)

    @_without_frames
    def rows(self, number: int, prefix: bytes, count: int = ALL_ROWS) -> dict[bytes, bytes]:
        with self._reading("rows") as txn:
            entries = self._entries(txn, "rows", U64.pack(number) + prefix, count)
        return {key[8:]: unsealed(key, stored) for key, stored in entries}

    def _entries(
        self, txn: lmdb.Transaction, database: str, prefix: bytes, count: int = ALL_ROWS
    ) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        with txn.cursor(db=self._databases[database]) as cursor:
            there = cursor.set_range(prefix)
            while there and len(found) < count and bytes(cursor.key()).startswith(prefix):
                found.append((bytes(cursor.key()), bytes(cursor.value())))
                there = cursor.next()
        return found

    def due(self, now_ms: int, count: int) -> list[int]:
        numbers: list[int] = []
        with self._reading("due") as txn, txn.cursor() as cursor:
            there = cursor.first()
            while there and len(numbers) < count:
                due_ms, number = PAIR.unpack(cursor.key())
                if due_ms > now_ms:
                    break
                numbers.append(number)
                there = cursor.next()
        return numbers

    def stats(self) -> Stats:
        with self._reading("store") as txn:
            stats = [txn.stat(database) for database in self._databases.values()]
            reader_age_us = self._readers.oldest_us(self._env.readers(), clock.steady_us())
            info = self._env.info()
        page_bytes = stats[0]["psize"]
        sizes = [page_bytes * (stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]) for stat in stats]
        file_bytes, map_bytes = (info["last_pgno"] + 1) * page_bytes, info["map_size"]
        channels, journal_values = stats[1]["entries"], stats[3]["entries"]
        return Stats(channels, sum(sizes), file_bytes, map_bytes, sizes[3], journal_values, reader_age_us)

    def drop_dead_readers(self) -> None:
        with self._reading("store"):
            self._env.reader_check()

    def close(self) -> None:
        self._env.close()


def _is_chunk(cursor: lmdb.Cursor, number: int) -> bool:
    found, first = PAIR.unpack(cursor.key())
    return bool(found == number and first != HEAD_MARK)
