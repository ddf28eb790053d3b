"""Works for a log, written shortly: what one commit does, as a list of what it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from outlast_broker.chunk import Chunk
from outlast_broker.cursor import Standing
from outlast_broker.head import Head
from outlast_broker.journal import Entry, entry_head
from outlast_broker.log import Creation, Cut, Deletion, Due, Log, Move, Outcome, Rewrite, Work
from outlast_protocol import Data
from outlast_protocol.batch import encode_batch, read_records, stamp

BIRTH_MS = 1_700_000_000_000


class Mark(NamedTuple):
    """A cursor that is written, or forgotten."""

    number: int
    cursor: str
    standing: Standing | None


class Row(NamedTuple):
    """A row that is written, or erased."""

    number: int
    key: bytes
    value: bytes | None


Part = Creation | Deletion | Entry | Move | Rewrite | Cut | Due | Mark | Row | tuple[int, Head]


def batch(offset: int, *datas: Data, time_ms: int = BIRTH_MS) -> bytes:
    """A stamped batch of these records."""
    return stamp(encode_batch("agent", [(data, None, None) for data in datas]), offset, time_ms)


def entry(number: int, offset: int, *datas: Data) -> Entry:
    return Entry(number, 0, 0, 0, batch(offset, *datas))


def commit(log: Log, *parts: Part, forget_journal: int = 0) -> Outcome:
    """One commit of all these parts; of none, one that only tidies up."""
    work = Work()
    work.tidy = not parts
    work.forget_journal = forget_journal
    for part in parts:
        _add(work, part)
    return log.commit(work)


def _add(work: Work, part: Part) -> None:
    lists: dict[type, list[Any]] = {
        Creation: work.births, Deletion: work.births, Move: work.moves, Rewrite: work.rewrites, Cut: work.cuts,
        Due: work.dues,
    }  # fmt: skip
    if isinstance(part, Entry):
        work.journal += (entry_head(*part[:4], part.lease), part.batch)
    elif isinstance(part, Mark):
        work.cursors[part.number, part.cursor] = part.standing
    elif isinstance(part, Row):
        work.rows[part.number, part.key] = part.value
    elif type(part) in lists:
        lists[type(part)].append(part)
    else:
        work.heads.append(part)  # type: ignore[arg-type]


def create(log: Log, name: str, epoch: int = 7) -> int:
    """The number of a new channel, committed alone."""
    number = log.next_number()
    commit(log, Creation(number, Head(name, epoch, BIRTH_MS)))
    return number


def move(number: int, *batches: bytes) -> Move:
    """A move that makes a chunk of each batch."""
    return Move(number, [[each] for each in batches], 0)


def with_chunks(log: Log, name: str, count: int, records: int = 2) -> int:
    """The number of a new channel with so many chunks, each of so many records, a millisecond apart."""
    number = create(log, name)
    datas = [f"{name} {index}" for index in range(records)]
    batches = [batch(1 + index * records, *datas, time_ms=BIRTH_MS + index) for index in range(count)]
    commit(log, move(number, *batches), (number, Head(name, 7, BIRTH_MS, next=1 + count * records)))
    return number


def ranges(chunks: Iterable[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.first, chunk.last) for chunk in chunks]


def offsets(chunks: Iterable[Chunk]) -> list[int]:
    return [record.offset for chunk in chunks for record in read_records(chunk.batches)]
