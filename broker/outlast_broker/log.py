"""The seam between the engine and what keeps its bytes: what one commit does, and what can be read.

Two logs stand behind it: lmdb_log.py on disk, memory_log.py for tests and for `serve --memory`.
A log decides nothing. `commit` is called from one thread only; the reads from any, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from .chunk import Chunk
from .cursor import Standing
from .head import Head
from .journal import Entry
from .retention import ChunkFacts


class Creation(NamedTuple):
    """A channel comes to be: its name leads to its number, its head is there."""

    number: int
    head: Head


class Deletion(NamedTuple):
    """A channel ends: name and head go at once, its chunks later, slice by slice. `hard`: a compaction is owed."""

    number: int
    name: str
    hard: bool = False


class Move(NamedTuple):
    """Batches leave the journal for chunks, a group each; the first group joins the chunk at `merge` (0: none)."""

    number: int
    groups: list[list[bytes]]
    merge: int


class Rewrite(NamedTuple):
    """Chunks are replaced by others that stand for the same offsets; `olds` are the first offsets of those that go."""

    number: int
    olds: list[int]
    news: list[Chunk]


class Cut(NamedTuple):
    """The channel's chunks that end before `first` are erased, CUT_CHUNKS of them at most."""

    number: int
    first: int


class Due(NamedTuple):
    """When time alone will change the channel: moved from `old_ms` to `new_ms` (0: none)."""

    number: int
    old_ms: int
    new_ms: int


CUT_CHUNKS = 256
JOURNAL_CUTS = 64
ALL_ROWS = 2**63


class Work:
    """Everything that one commit does, in this order; all of it or nothing."""

    __slots__ = (
        "births", "cursors", "cuts", "dues", "forget_journal", "heads", "journal", "moves", "rewrites",
        "rows", "tidy",
    )  # fmt: skip

    def __init__(self) -> None:
        self.births: list[Creation | Deletion] = []
        self.journal: list[bytes] = []
        self.rewrites: list[Rewrite] = []
        self.moves: list[Move] = []
        self.heads: list[tuple[int, Head]] = []
        self.cuts: list[Cut] = []
        self.dues: list[Due] = []
        # By channel number and cursor name; None forgets.
        self.cursors: dict[tuple[int, str], Standing | None] = {}
        # By channel number and key; None erases. What the key says is its writer's: session, leasing, claiming.
        # Number 0 holds what is looked for over all channels.
        self.rows: dict[tuple[int, bytes], bytes | None] = {}
        self.forget_journal = 0
        self.tidy = False

    def __bool__(self) -> bool:
        """Whether there is anything to write; `tidy` alone asks for a slice of what is left to erase."""
        written = (self.births, self.journal, self.rewrites, self.moves, self.heads)
        parts = (*written, self.cuts, self.dues, self.cursors, self.rows)
        return self.tidy or any(parts)


class Outcome(NamedTuple):
    """What a commit tells back. `erasing`: deleted channels still have chunks to erase; `sync_us`: syncing took it."""

    journal_newest: int
    journal_oldest: int
    erasing: bool
    sync_us: int = 0


class Stats(NamedTuple):
    """The store as an operator sees it, in bytes and counts. `reader_age_us`: how long the oldest read goes on."""

    channels: int
    used_bytes: int
    file_bytes: int
    map_bytes: int
    journal_bytes: int
    journal_values: int
    reader_age_us: int


class Compacted(NamedTuple):
    """How large the store's file was, and is."""

    before_bytes: int
    after_bytes: int


class Log(Protocol):
    """What the engine asks of a log. Any OSError-like exception from `commit` is final: the broker stops."""

    def commit(self, work: Work) -> Outcome:
        """Makes `work` durable, then returns. `forget_journal`: values up to this id are no longer needed."""

    def recover(self) -> Iterator[tuple[int, list[Entry]]]:
        """The journal, oldest value first, as (journal id, entries). Raises Damaged."""

    def next_number(self) -> int:
        """A number that no channel ever had."""

    def find(self, name: str) -> int | None:
        """The number of a channel by name."""

    def head(self, number: int) -> Head | None:
        """A channel's head, None when there is no such channel (any more)."""

    def heads(self, numbers: Sequence[int]) -> dict[int, Head]:
        """Those of many at once; there is none of a channel that is not there (any more). Raises Damaged."""

    def read(self, number: int, offset: int, bytes_max: int) -> list[Chunk]:
        """Chunks from the one that holds `offset` on: at least one, at most `bytes_max`. Raises Damaged."""

    def read_back(self, number: int, offset: int) -> Chunk | None:
        """The chunk that holds `offset`, or else the last one before it. Raises Damaged."""

    def find_time(self, number: int, time_ms: int) -> Chunk | None:
        """The first chunk whose last batch is not older than `time_ms`. Raises Damaged."""

    def oldest(self, number: int, count: int) -> list[ChunkFacts]:
        """Facts of the oldest chunks, in order."""

    def names(self, prefix: str, after: str | None, count: int) -> list[tuple[str, int]]:
        """Names and numbers in byte order: those that start with `prefix` and come after `after`."""

    def cursors(self, number: int) -> dict[str, Standing]:
        """All cursors of a channel."""

    def row(self, number: int, key: bytes) -> bytes | None:
        """One row of a channel; number 0 holds what is looked for over all channels. Raises Damaged."""

    def rows(self, number: int, prefix: bytes, count: int = ALL_ROWS) -> dict[bytes, bytes]:
        """A channel's rows whose keys start with `prefix`, in byte order, the first `count`. Raises Damaged."""

    def due(self, now_ms: int, count: int) -> list[int]:
        """Numbers of channels whose due time has come."""

    def stats(self) -> Stats: ...

    def compact(self, reserve_bytes: int) -> Compacted:
        """Gives free space back, with all that erased values left in it; pays what was owed.

        Takes long; commits go on meanwhile. Raises NoRoom if less than `reserve_bytes` of disk would be left.
        """

    def give_up_compaction(self) -> None:
        """The one that is being made fails soon, and none is made any more."""

    def owes_compaction(self) -> bool:
        """Whether a channel was deleted for good and the store not compacted since."""

    def drop_dead_readers(self) -> None:
        """Lets go of what processes that read the store from beside kept pinned when they were killed."""

    def close(self) -> None: ...
