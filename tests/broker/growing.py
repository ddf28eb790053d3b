"""Growing messages, written shortly: rows of a batch, what publishes them, and what a run of the log says.

say(alice, number, opened("He"), grown(1, "llo"), closed(1))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from outlast_broker.channel import Channel
from outlast_broker.folded import Seen, see
from outlast_broker.head import Head
from outlast_broker.log import Log, Move
from outlast_broker.session import Author, Contents, Growing, Session
from outlast_protocol import ErrorCode, ProtocolError, Record
from outlast_protocol.batch import LabelKey, encode_labelled, read_records, spans, stamp
from outlast_protocol.frames import UNCONDITIONAL, Attach, Attached, Error, History, Message, Page, Publish, Published
from outlast_protocol.operations import MessageState, Op, Operation

from tests.broker.logs import BIRTH_MS, commit, create
from tests.broker.stage import Actor, Stage

TEXT = 1
Row: TypeAlias = tuple[LabelKey, bytes]


# --- rows -------------------------------------------------------------------------------------------------


def row(operation: Operation | None, data: str | bytes = b"", encoding: int = TEXT, ttl_ms: int = 0) -> Row:
    raw = data.encode() if isinstance(data, str) else data
    return (encoding, None, (), operation, ttl_ms) if operation or ttl_ms else (encoding, None, ()), raw


def plain(data: str | bytes, ttl_ms: int = 0) -> Row:
    return row(None, data, ttl_ms=ttl_ms)


def opened(data: str | bytes = b"", name: str | None = None, headers: dict[str, str] | None = None) -> Row:
    label = (TEXT, name, tuple(sorted((headers or {}).items())), Operation(Op.OPEN), 0)
    return label, data.encode() if isinstance(data, str) else data


def grown(message: int, data: str | bytes) -> Row:
    return row(Operation(Op.APPEND, message), data)


def closed(message: int, state: MessageState = MessageState.COMPLETE, reason: str = "") -> Row:
    return row(Operation(Op.CLOSE, message, state), reason)


def replaced(message: int, data: str | bytes) -> Row:
    return row(Operation(Op.REPLACE, message), data)


def removed(message: int) -> Row:
    return row(Operation(Op.REMOVE, message))


def reopened(message: int) -> Row:
    return row(Operation(Op.REOPEN, message))


def put(key: str, value: str = "", version: int | None = None) -> Row:
    return row(Operation(Op.SET, key=key, version=version), value)


def folded(message: int, data: str | bytes, state: MessageState = MessageState.COMPLETE, reason: str = "") -> Row:
    return row(Operation(Op.FOLDED, message, state, reason), data)


# --- batches and runs -------------------------------------------------------------------------------------


def batch(offset: int, *rows: Row, time_ms: int = BIRTH_MS, client: str = "agent") -> bytes:
    """A stamped batch of these rows."""
    return stamp(encode_labelled(client, rows), offset, time_ms)


class Brief(NamedTuple):
    """A record in short."""

    offset: int
    op: Op | None
    data: bytes


def briefs(run: bytes | Iterable[Record]) -> list[Brief]:
    records = read_records(run) if isinstance(run, bytes) else run
    return [Brief(each.offset, each.operation and each.operation.op, each.data) for each in records]


def check_dense(run: bytes, first: int, last: int) -> None:
    """The run's batches and tiles stand for `first` to `last`, each offset once, and so do those inside of tiles."""
    reached = first - 1
    for span in spans(run):
        assert span.offset == reached + 1, f"{span.offset} comes after {reached}"
        reached = span.last
    assert reached == last
    offsets = [record.offset for record in read_records(run)]
    assert offsets == sorted(set(offsets)), "a record is there twice, or out of turn"
    assert not offsets or first <= offsets[0] <= offsets[-1] <= last


# --- a session alone --------------------------------------------------------------------------------------


class Alone:
    """A session without a broker: what it is told of goes to disk at once unless `durable` is off."""

    def __init__(self, rows: dict[bytes, bytes] | None = None, contents_bytes: int = 1 << 20) -> None:
        self.rows = dict(rows or {})
        self.folded: dict[int, Growing] = {}
        self.contents = Contents(contents_bytes)
        self.session = Session(self.rows, self.folded.get, self.contents)
        self.last = 0

    def say(
        self, *rows: Row, author: str = "agent", lease: str = "", time_ms: int = BIRTH_MS, durable: bool = True
    ) -> int:
        """The first offset of the batch."""
        records = read_records(batch(0, *rows, client=author))
        changes = self.session.judge(records, Author(author, lease), self.last + 1, time_ms)
        self.session.accept(changes)
        first, self.last = self.last + 1, changes.last
        if durable:
            self.session.release(self.last)
        return first

    def refused(self, *rows: Row, author: str = "agent", lease: str = "") -> ProtocolError:
        try:
            self.say(*rows, author=author, lease=lease)
        except ProtocolError as error:
            return error
        raise AssertionError("it was not refused")


# --- on the stage -----------------------------------------------------------------------------------------


def saying(actor: Actor, number: int, *rows: Row) -> Publish:
    return Publish(actor.request(), number, 0, UNCONDITIONAL, 0, encode_labelled(actor.id, rows))


def say(actor: Actor, number: int, *rows: Row) -> int:
    """Publishes the rows as one batch; returns its first offset."""
    actor.send(saying(actor, number, *rows))
    [(_, offset, _)] = actor.expect(Published).acks
    return offset


def say_each(actor: Actor, number: int, *rows: Row) -> None:
    """Publishes each row as a batch of its own."""
    actor.send(*[saying(actor, number, each) for each in rows])
    acks = 0
    while acks < len(rows):
        acks += len(actor.expect(Published).acks)


def attach(actor: Actor, number: int, credit: int = 1 << 30, raw: bool = False, **start: Any) -> Attached:
    start = start or {"start": "earliest"}
    actor.send(Attach(actor.request(), number, credit, raw=raw, presence=False, **start))
    return actor.expect(Attached)


def page(actor: Actor, number: int, **asked: Any) -> Page:
    actor.send(History(actor.request(), number, **asked))
    return actor.expect(Page)


def message(actor: Actor, number: int, opened_at: int) -> Record:
    actor.send(Message(actor.request(), number, opened_at))
    [record] = read_records(actor.expect(Page).batches)
    return record


def unknown(actor: Actor, number: int, opened_at: int) -> None:
    actor.send(Message(actor.request(), number, opened_at))
    assert actor.expect(Error).code == ErrorCode.UNKNOWN_MESSAGE


def until_folded(stage: Stage, name: str, advance: Callable[[int], None], ticks: int = 60) -> None:
    """Until the store holds folded what was closed."""
    for _ in range(ticks):
        advance(2_000)
        stage.tick()
        session = stage.channel(name).session
        assert session is not None
        if not any(not each.is_open for each in session.durable.messages.values()):
            return
    raise AssertionError(f"the messages of {name!r} are not folded")


# --- in a log alone ---------------------------------------------------------------------------------------


class Kept:
    """One channel's batches in a log without a broker: `chunks` of them stored, the rest in its tail."""

    def __init__(self, log: Log, batches: Iterable[bytes], stored: int, per_chunk: int = 1) -> None:
        all_of_them = list(batches)
        self.log = log
        self.number = create(log, "room")
        self.last = last_of(all_of_them[-1])
        chunked, tail = all_of_them[:stored], all_of_them[stored:]
        groups = [chunked[at : at + per_chunk] for at in range(0, len(chunked), per_chunk)]
        if groups:
            commit(log, Move(self.number, groups, 0))
        self.channel = Channel(self.number, Head("room", 7, BIRTH_MS, next=last_of(chunked[-1]) + 1 if chunked else 1))
        self.channel.session = self.session = Session({}, {}.get, Contents(1 << 24))
        for each in all_of_them:
            self.session.recover(read_records(each))
        for each in tail:
            self.channel.recover(each)

    def seen(self, low: int = 1, bytes_max: int | None = None, memory: bool = True, now_ms: int = BIRTH_MS) -> Seen:
        """As the loop hands it over; without `memory` nothing of what messages hold is there."""
        if not memory:
            self.session.close()
        snapshot = self.session.snapshot(self.channel.first, self.channel.last)
        return see(self.channel, snapshot, low, now_ms, bytes_max)


def last_of(batch: bytes) -> int:
    return next(spans(batch)).last


def batches_of(*batches: list[Row], step_ms: int = 1) -> list[bytes]:
    """Stamped one after the other from offset 1 on, `step_ms` apart."""
    found: list[bytes] = []
    for index, rows in enumerate(batches):
        offset = last_of(found[-1]) + 1 if found else 1
        found.append(batch(offset, *rows, time_ms=BIRTH_MS + index * step_ms))
    return found
