"""The log in memory: the same answers as lmdb_log.py, forgotten when the process ends.

For tests, and for `serve --memory`. `commit` may be made to fail, so that fail-stop can be shown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from . import chunk, journal
from .chunk import Chunk
from .cursor import Standing
from .head import Head
from .journal import Entry
from .log import ALL_ROWS, Compacted, Creation, Move, Outcome, Rewrite, Stats, Work
from .retention import ChunkFacts


class MemoryLog:
    """See log.Log. `failure`, once set, is what the next commit raises."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._heads: dict[int, Head] = {}
        self._chunks: dict[int, list[Chunk]] = {}
        self._journal: dict[int, bytes] = {}
        self._due: set[tuple[int, int]] = set()
        self._cursors: dict[int, dict[str, Standing]] = {}
        self._rows: dict[int, dict[bytes, bytes]] = {}
        self._next = 1
        self._newest = 0
        self.failure: Exception | None = None

    def commit(self, work: Work) -> Outcome:
        if self.failure is not None:
            raise self.failure
        for birth in work.births:
            if isinstance(birth, Creation):
                self._names[birth.head.name] = birth.number
                self._heads[birth.number] = birth.head
            else:
                for kept in (self._heads, self._chunks, self._cursors, self._rows):
                    kept.pop(birth.number, None)
                del self._names[birth.name]
        if work.journal:
            self._newest += 1
            self._journal[self._newest] = journal.seal(work.journal)
        for rewrite in work.rewrites:
            self._rewrite(rewrite)
        for move in work.moves:
            self._move(move)
        self._heads.update(work.heads)
        for cut in work.cuts:
            self._chunks[cut.number] = [each for each in self._chunks.get(cut.number, []) if each.last >= cut.first]
        for due in work.dues:
            self._due.discard((due.old_ms, due.number))
            self._due |= {(due.new_ms, due.number)} if due.new_ms else set()
        for (number, name), standing in work.cursors.items():
            self._set_cursor(number, name, standing)
        for (number, key), value in work.rows.items():
            self._set_row(number, key, value)
        for journal_id in [each for each in self._journal if each <= work.forget_journal]:
            del self._journal[journal_id]
        return Outcome(self._newest, min(self._journal, default=self._newest + 1), erasing=False)

    def _set_cursor(self, number: int, name: str, standing: Standing | None) -> None:
        kept = self._cursors.setdefault(number, {})
        if standing is None:
            kept.pop(name, None)
        else:
            kept[name] = standing

    def _rewrite(self, rewrite: Rewrite) -> None:
        kept = [each for each in self._chunks.get(rewrite.number, []) if each.first not in rewrite.olds]
        self._chunks[rewrite.number] = sorted([*kept, *rewrite.news])

    def _set_row(self, number: int, key: bytes, value: bytes | None) -> None:
        kept = self._rows.setdefault(number, {})
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value

    def _move(self, move: Move) -> None:
        chunks = [chunk.make(group) for group in move.groups]
        kept = self._chunks.get(move.number, [])
        if move.merge:
            *kept, last = kept
            chunks[0] = last.joined(chunks[0])
        # A reader in another thread goes on with the list that it has.
        self._chunks[move.number] = [*kept, *chunks]

    def recover(self) -> Iterator[tuple[int, list[Entry]]]:
        for journal_id, value in self._journal.items():
            yield journal_id, list(journal.read_entries(value, journal_id))

    def next_number(self) -> int:
        self._next += 1
        return self._next - 1

    def find(self, name: str) -> int | None:
        return self._names.get(name)

    def head(self, number: int) -> Head | None:
        return self._heads.get(number)

    def heads(self, numbers: Sequence[int]) -> dict[int, Head]:
        return {number: self._heads[number] for number in numbers if number in self._heads}

    def read(self, number: int, offset: int, bytes_max: int) -> list[Chunk]:
        kept = self._chunks.get(number, [])
        found: list[Chunk] = []
        for each in kept[bisect_left(kept, offset, key=lambda each: each.last) :]:
            if found and sum(len(one.batches) + chunk.HEAD_BYTES for one in [*found, each]) > bytes_max:
                break
            found.append(each)
        return found

    def read_back(self, number: int, offset: int) -> Chunk | None:
        kept = self._chunks.get(number, [])
        index = bisect_right(kept, offset, key=lambda each: each.first)
        return kept[index - 1] if index else None

    def find_time(self, number: int, time_ms: int) -> Chunk | None:
        return next((each for each in self._chunks.get(number, []) if each.last_ms >= time_ms), None)

    def oldest(self, number: int, count: int) -> list[ChunkFacts]:
        return [chunk.facts(each.encode(), number) for each in self._chunks.get(number, [])[:count]]

    def names(self, prefix: str, after: str | None, count: int) -> list[tuple[str, int]]:
        start = (after or "").encode()
        names = sorted((name for name in self._names if name.startswith(prefix)), key=str.encode)
        return [(name, self._names[name]) for name in names if not after or name.encode() > start][:count]

    def cursors(self, number: int) -> dict[str, Standing]:
        return dict(self._cursors.get(number, {}))

    def row(self, number: int, key: bytes) -> bytes | None:
        return self._rows.get(number, {}).get(key)

    def rows(self, number: int, prefix: bytes, count: int = ALL_ROWS) -> dict[bytes, bytes]:
        kept = self._rows.get(number, {})
        return {key: kept[key] for key in [key for key in sorted(kept) if key.startswith(prefix)][:count]}

    def due(self, now_ms: int, count: int) -> list[int]:
        return [number for due_ms, number in sorted(self._due) if due_ms <= now_ms][:count]

    def stats(self) -> Stats:
        used = sum(len(each.batches) for kept in self._chunks.values() for each in kept)
        journal_bytes = sum(map(len, self._journal.values()))
        used += journal_bytes
        return Stats(len(self._names), used, used, used, journal_bytes, len(self._journal), 0)

    def compact(self, reserve_bytes: int) -> Compacted:
        """There is no file, and nothing is left of what is erased."""
        return Compacted(0, 0)

    def give_up_compaction(self) -> None:
        """It takes no time."""

    def owes_compaction(self) -> bool:
        return False

    def drop_dead_readers(self) -> None:
        """Nobody reads it from beside."""

    def close(self) -> None:
        self._journal.clear()
