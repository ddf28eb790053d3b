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
from collections.abc import Callable, Iterator
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
from .head import Head
from .journal import Entry
from .lmdb_file import DATABASES, FORMAT, HEAD_MARK, PAIR, U64, check_format, open_environment, sealed, unsealed
from .log import ALL_ROWS, CUT_CHUNKS, JOURNAL_CUTS, Creation, Cut, Deletion, Due, Move, Outcome, Rewrite, Stats, Work
from .retention import ChunkFacts

P = ParamSpec("P")
R = TypeVar("R")
CUT_ROWS = 4_096


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


class _MapGate:
    """Readers pass together; growth goes alone, and first: it moves the map under the readers' feet."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._growing = False

    def enter(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._growing)
            self._readers += 1

    def leave(self) -> None:
        with self._condition:
            self._readers -= 1
            self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._growing = True
            self._condition.wait_for(lambda: not self._readers)
            try:
                yield
            finally:
                self._growing = False
                self._condition.notify_all()


class ReaderTable:
    """Whoever reads the store now, in whichever process: a backup reads it for as long as it takes.

    LMDB says which transaction each of them sees, and not since when: that is when one was first seen here.
    """

    def __init__(self) -> None:
        self._since_us: dict[str, int] = {}

    def oldest_us(self, table: str, now_us: int) -> int:
        """How long the one goes on that has been seen first. `table` is LMDB's: process, thread and transaction."""
        rows = (line.split() for line in table.splitlines()[1:])
        there = [" ".join(row) for row in rows if len(row) == 3 and row[2].isdigit()]
        self._since_us = {row: self._since_us.get(row, now_us) for row in there}
        return now_us - min(self._since_us.values(), default=now_us)


class LmdbLog:
    """See log.Log. One thread commits; the gate keeps readers out while the map is made larger."""

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self._env = open_environment(folder, map_bytes)
        self.drop_dead_readers()
        self._gate = _MapGate()
        self._readers = ReaderTable()
        self._settle_format(folder)
        databases = [self._env.open_db(name.encode()) for name in DATABASES]
        self._store, self._names, self._chunks, self._journal, self._due, self._doomed, *beside = databases
        self._cursors, self._rows = beside
        with self._env.begin(db=self._store) as txn:
            self._next: int = U64.unpack(_get(txn, self._store, b"next") or U64.pack(1))[0]
        with self._env.begin(db=self._journal) as txn, txn.cursor() as cursor:
            self._newest: int = U64.unpack(cursor.key())[0] if cursor.last() else 0
            self._oldest: int = U64.unpack(cursor.key())[0] if cursor.first() else self._newest + 1

    def _settle_format(self, folder: Path) -> None:
        if not check_format(self._env, folder):
            with self._env.begin(write=True) as txn:
                txn.put(b"format", U64.pack(FORMAT), db=self._env.open_db(b"store", txn=txn))

    # --- writing: the committer's thread ------------------------------------------------------------------

    def commit(self, work: Work) -> Outcome:
        while True:
            try:
                return self._commit(work)
            except lmdb.MapFullError:
                self._grow()

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
                _put(txn, self._chunks, PAIR.pack(number, HEAD_MARK), facts.encode())
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
            _put(txn, self._names, birth.head.name.encode(), key)
            _put(txn, self._chunks, head_key, birth.head.encode())
            _put(txn, self._store, b"next", U64.pack(self._next))
        else:
            txn.delete(birth.name.encode(), db=self._names)
            txn.delete(head_key, db=self._chunks)
            txn.put(key, b"", db=self._doomed)
            for cursor, _ in self._entries(txn, self._cursors, key):
                txn.delete(cursor, db=self._cursors)

    def _write_journal(self, txn: lmdb.Transaction, parts: list[bytes]) -> int:
        if not parts:
            return self._newest
        txn.put(U64.pack(self._newest + 1), journal.seal(parts), db=self._journal, append=True)
        return self._newest + 1

    def _move(self, txn: lmdb.Transaction, move: Move) -> None:
        chunks = [chunk.make(group) for group in move.groups]
        if move.merge:
            stored = txn.get(PAIR.pack(move.number, move.merge), db=self._chunks)
            if stored is None:
                raise Damaged(f"channel number {move.number} has no chunk at offset {move.merge}")
            chunks[0] = chunk.decode(bytes(stored), move.number).joined(chunks[0])
        for each in chunks:
            txn.put(PAIR.pack(move.number, each.first), each.encode(), db=self._chunks)

    def _rewrite(self, txn: lmdb.Transaction, rewrite: Rewrite) -> None:
        for first in rewrite.olds:
            if not txn.delete(PAIR.pack(rewrite.number, first), db=self._chunks):
                raise Damaged(f"channel number {rewrite.number} has no chunk at offset {first}")
        for each in rewrite.news:
            txn.put(PAIR.pack(rewrite.number, each.first), each.encode(), db=self._chunks)

    def _cut(self, txn: lmdb.Transaction, cut: Cut) -> bool:
        """Whether more is left to erase than one commit should."""
        with txn.cursor(db=self._chunks) as cursor:
            there = cursor.set_range(PAIR.pack(cut.number, 0))
            for _ in range(CUT_CHUNKS):
                if not there or not _is_chunk(cursor, cut.number):
                    return False
                if cut.first < HEAD_MARK and chunk.facts(cursor.value(), cut.number).last >= cut.first:
                    return False
                cursor.delete()
                # Deleting moves to the next key, or to none behind the last.
                there = bool(cursor.key())
        return True

    def _set_due(self, txn: lmdb.Transaction, due: Due) -> None:
        if due.old_ms:
            txn.delete(PAIR.pack(due.old_ms, due.number), db=self._due)
        if due.new_ms:
            txn.put(PAIR.pack(due.new_ms, due.number), b"", db=self._due)

    def _set_cursor(self, txn: lmdb.Transaction, key: bytes, standing: Standing | None) -> None:
        if standing is None:
            txn.delete(key, db=self._cursors)
        else:
            _put(txn, self._cursors, key, PAIR.pack(*standing))

    def _set_row(self, txn: lmdb.Transaction, key: bytes, value: bytes | None) -> None:
        if value is None:
            txn.delete(key, db=self._rows)
        else:
            _put(txn, self._rows, key, value)

    def _forget(self, txn: lmdb.Transaction, oldest: int, through: int) -> int:
        """Erases journal values up to `through`, a slice of them; returns the oldest one left."""
        end = min(through + 1, oldest + JOURNAL_CUTS)
        for journal_id in range(oldest, end):
            txn.delete(U64.pack(journal_id), db=self._journal)
        return max(oldest, end)

    def _erase_doomed(self, txn: lmdb.Transaction) -> bool:
        with txn.cursor(db=self._doomed) as doomed:
            if not doomed.first():
                return False
            number = U64.unpack(doomed.key())[0]
            if not self._cut(txn, Cut(number, HEAD_MARK)) and not self._cut_rows(txn, number):
                doomed.delete()
            return doomed.first()

    def _cut_rows(self, txn: lmdb.Transaction, number: int) -> bool:
        """Whether more is left to erase than one commit should."""
        prefix = U64.pack(number)
        with txn.cursor(db=self._rows) as cursor:
            there = cursor.set_range(prefix)
            for _ in range(CUT_ROWS):
                if not there or not bytes(cursor.key()).startswith(prefix):
                    return False
                cursor.delete()
                # Deleting moves to the next key, or to none behind the last.
                there = bool(cursor.key())
        return True

    def _grow(self) -> None:
        with self._gate.alone():
            self._env.set_mapsize(2 * self._env.info()["map_size"])

    # --- reading: any thread ------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, database: lmdb._Database) -> Iterator[lmdb.Transaction]:
        self._gate.enter()
        try:
            with self._env.begin(db=database) as txn:
                yield txn
        finally:
            self._gate.leave()

    def recover(self) -> Iterator[tuple[int, list[Entry]]]:
        for journal_id in range(self._oldest, self._newest + 1):
            with self._reading(self._journal) as txn:
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
        with self._reading(self._names) as txn:
            stored = _get(txn, self._names, name.encode())
        return U64.unpack(stored)[0] if stored else None

    @_without_frames
    def head(self, number: int) -> Head | None:
        with self._reading(self._chunks) as txn:
            stored = _get(txn, self._chunks, PAIR.pack(number, HEAD_MARK))
        return head.decode(stored) if stored else None

    @_without_frames
    def read(self, number: int, offset: int, bytes_max: int) -> list[Chunk]:
        values: list[bytes] = []
        size = 0
        with self._reading(self._chunks) as txn, txn.cursor() as cursor:
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
        with self._reading(self._chunks) as txn, txn.cursor() as cursor:
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
        with self._reading(self._chunks) as txn, txn.cursor() as cursor:
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
        with self._reading(self._chunks) as txn, txn.cursor() as cursor:
            there = cursor.set_range(PAIR.pack(number, 0))
            while there and len(found) < count and _is_chunk(cursor, number):
                found.append(chunk.facts(cursor.value(), number))
                there = cursor.next()
        return found

    @_without_frames
    def names(self, prefix: str, after: str | None, count: int) -> list[tuple[str, int]]:
        start = max(prefix.encode(), (after or "").encode())
        found: list[tuple[str, int]] = []
        with self._reading(self._names) as txn, txn.cursor() as cursor:
            there = cursor.set_range(start) if start else cursor.first()
            while there and len(found) < count and bytes(cursor.key()).startswith(prefix.encode()):
                name = bytes(cursor.key()).decode()
                if name != after:
                    found.append((name, U64.unpack(unsealed(name.encode(), bytes(cursor.value())))[0]))
                there = cursor.next()
        return found

    @_without_frames
    def cursors(self, number: int) -> dict[str, Standing]:
        with self._reading(self._cursors) as txn:
            entries = self._entries(txn, self._cursors, U64.pack(number))
        return {key[8:].decode(): Standing(*PAIR.unpack(unsealed(key, stored))) for key, stored in entries}

    @_without_frames
    def row(self, number: int, key: bytes) -> bytes | None:
        with self._reading(self._rows) as txn:
            return _get(txn, self._rows, U64.pack(number) + key)

    @_without_frames
    def rows(self, number: int, prefix: bytes, count: int = ALL_ROWS) -> dict[bytes, bytes]:
        with self._reading(self._rows) as txn:
            entries = self._entries(txn, self._rows, U64.pack(number) + prefix, count)
        return {key[8:]: unsealed(key, stored) for key, stored in entries}

    def _entries(
        self, txn: lmdb.Transaction, database: lmdb._Database, prefix: bytes, count: int = ALL_ROWS
    ) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        with txn.cursor(db=database) as cursor:
            there = cursor.set_range(prefix)
            while there and len(found) < count and bytes(cursor.key()).startswith(prefix):
                found.append((bytes(cursor.key()), bytes(cursor.value())))
                there = cursor.next()
        return found

    def due(self, now_ms: int, count: int) -> list[int]:
        numbers: list[int] = []
        with self._reading(self._due) as txn, txn.cursor() as cursor:
            there = cursor.first()
            while there and len(numbers) < count:
                due_ms, number = PAIR.unpack(cursor.key())
                if due_ms > now_ms:
                    break
                numbers.append(number)
                there = cursor.next()
        return numbers

    def stats(self) -> Stats:
        reader_age_us = self._readers.oldest_us(self._env.readers(), clock.steady_us())
        with self._reading(self._store) as txn:
            stats = [txn.stat(database) for database in self._databases()]
            info = self._env.info()
        page_bytes = stats[0]["psize"]
        sizes = [page_bytes * (stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]) for stat in stats]
        file_bytes, map_bytes = (info["last_pgno"] + 1) * page_bytes, info["map_size"]
        channels, journal_values = stats[1]["entries"], stats[3]["entries"]
        return Stats(channels, sum(sizes), file_bytes, map_bytes, sizes[3], journal_values, reader_age_us)

    def _databases(self) -> tuple[lmdb._Database, ...]:
        """In the order of the names above."""
        return (
            self._store, self._names, self._chunks, self._journal, self._due, self._doomed, self._cursors, self._rows,
        )  # fmt: skip

    def drop_dead_readers(self) -> None:
        self._env.reader_check()

    def close(self) -> None:
        self._env.close()


def _put(txn: lmdb.Transaction, database: lmdb._Database, key: bytes, value: bytes) -> None:
    txn.put(key, sealed(key, value), db=database)


def _get(txn: lmdb.Transaction, database: lmdb._Database, key: bytes) -> bytes | None:
    stored = txn.get(key, db=database)
    return None if stored is None else unsealed(key, bytes(stored))


def _is_chunk(cursor: lmdb.Cursor, number: int) -> bool:
    found, first = PAIR.unpack(cursor.key())
    return bool(found == number and first != HEAD_MARK)
