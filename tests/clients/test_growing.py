"""Growing messages put together from records: every operation, what was folded, and what was missed."""

from __future__ import annotations

from typing import Any

import pytest
from outlast.growing import CLOSED_KEPT, Assembly, Content
from outlast.records import Record, from_store
from outlast_protocol import Position, batch
from outlast_protocol.batch import encode_data, encode_labelled
from outlast_protocol.operations import MessageState, Op, Operation

from .fake_broker import EPOCH, TIME_MS

COMPLETE, INTERRUPTED = MessageState.COMPLETE, MessageState.INTERRUPTED


def operation_batch(offset: int, operation: Operation, data: Any = "", name: str | None = None) -> bytes:
    """A stamped batch with one operation."""
    encoding, raw = encode_data(data)
    label = (int(encoding), name, (), operation, 0)
    return batch.stamp(encode_labelled("writer", [(label, raw)]), offset, TIME_MS + offset)


def folded_batch(
    offset: int, message: int, state: MessageState, content: Content, reason: str = "", name: str | None = None
) -> bytes:
    """A stamped batch with one message, folded."""
    return operation_batch(offset, Operation(Op.FOLDED, message, state, reason), content, name)


def record(offset: int, operation: Operation | None, data: Any = "", name: str | None = None) -> Record:
    if operation is None:
        return Record(offset, data, name, {}, "writer", TIME_MS + offset, EPOCH)
    stored = operation_batch(offset, operation, data, name)
    return from_store(batch.read_records(stored), EPOCH)[0]


def op(code: Op, message: int = 0, state: MessageState = MessageState.OPEN, reason: str = "") -> Operation:
    return Operation(code, message, state, reason)


def fed(*records: Record) -> tuple[Assembly, list[Content | None]]:
    """An assembly that was fed these, and the deltas that came of it."""
    assembly = Assembly()
    changes = [assembly.feed(each) for each in records]
    return assembly, [change.delta for change in changes if change is not None]


OPEN = record(5, op(Op.OPEN), "A", name="answer")


def test_a_message_from_its_opening_to_its_end() -> None:
    assembly = Assembly()
    for offset, operation, data in ((5, op(Op.OPEN), "A"), (6, op(Op.APPEND, 5), "b"), (9, op(Op.APPEND, 5), "c")):
        change = assembly.feed(record(offset, operation, data, name="answer" if operation.op is Op.OPEN else None))
        assert change is not None and change.delta == data
        assert assembly.messages == {5: change.message}
    view = assembly.messages[5]
    assert (view.id, view.name, view.client_id, view.content) == (5, "answer", "writer", "Abc")
    assert (view.state, view.is_open, view.whole, view.place) == ("open", True, True, 9)
    assert (view.time_ms, view.position) == (TIME_MS + 9, Position(EPOCH, 9))
    closing = assembly.feed(record(12, op(Op.CLOSE, 5, MessageState.ERROR), "no more tokens"))
    assert closing is not None and closing.delta == ""
    closed = closing.message
    assert (closed.state, closed.reason, closed.content, closed.place) == ("error", "no more tokens", "Abc", 12)
    assert assembly.messages == {} and assembly.find(5) is closed


def test_a_view_does_not_change() -> None:
    assembly = Assembly()
    views = []
    for offset, piece in enumerate("abcd", start=6):
        assembly.feed(OPEN)
        change = assembly.feed(record(offset, op(Op.APPEND, 5), piece))
        assert change is not None
        views.append(change.message)
        if piece == "b":
            assert change.message.content == "Aab"
    assert [view.content for view in views] == ["Aa", "Aab", "Aabc", "Aabcd"]


def test_bytes() -> None:
    assembly, deltas = fed(record(1, op(Op.OPEN), b"\xff"), record(2, op(Op.APPEND, 1), b"\x00"))
    assert deltas == [b"\xff", b"\x00"]
    assert assembly.messages[1].content == b"\xff\x00"


def test_a_piece_of_another_kind_becomes_what_the_message_is() -> None:
    text, _ = fed(record(1, op(Op.OPEN), "a"), record(2, op(Op.APPEND, 1), b"\xc3\xa4"))
    assert text.messages[1].content == "aä"
    raw, _ = fed(record(1, op(Op.OPEN), b"a"), record(2, op(Op.APPEND, 1), "ä"))
    assert raw.messages[1].content == b"a\xc3\xa4"


def test_replace_remove_and_reopen() -> None:
    assembly, deltas = fed(
        OPEN,
        record(6, op(Op.REPLACE, 5), "anew"),
        record(7, op(Op.APPEND, 5), "!"),
        record(8, op(Op.CLOSE, 5, INTERRUPTED), b""),
        record(9, op(Op.REOPEN, 5)),
        record(10, op(Op.APPEND, 5), "?"),
    )
    assert deltas == ["A", None, "!", "", "", "?"]
    assert assembly.messages[5].content == "anew!?"
    change = assembly.feed(record(11, op(Op.REMOVE, 5)))
    assert change is not None and change.delta is None
    assert (change.message.state, change.message.content, change.message.name) == ("removed", "", "answer")


def test_other_records_change_nothing() -> None:
    assembly, deltas = fed(record(1, None, "plain"), record(2, Operation(Op.SET, key="k"), "v"))
    assert (assembly.messages, deltas) == ({}, [])


def test_what_is_folded_replaces_and_stands_for_all_before_it() -> None:
    assembly, deltas = fed(
        OPEN,
        record(9, op(Op.FOLDED, 5), "Abc", name="answer"),
        record(6, op(Op.APPEND, 5), "b"),
        record(9, op(Op.APPEND, 5), "c"),
        record(10, op(Op.APPEND, 5), "d"),
    )
    assert deltas == ["A", "bc", "d"]
    assert assembly.messages[5].content == "Abcd"


@pytest.mark.parametrize(("content", "delta"), [("Ab", "b"), ("A", ""), ("else", None), (b"Ab", None)])
def test_what_is_folded_says_what_is_new_in_it_where_that_can_be_said(content: Content, delta: Content | None) -> None:
    _, deltas = fed(OPEN, record(9, op(Op.FOLDED, 5, COMPLETE), content))
    assert deltas == ["A", delta]


def test_a_message_that_was_not_known_is_new_as_it_is_folded() -> None:
    assembly, deltas = fed(record(9, op(Op.FOLDED, 5, MessageState.CANCELLED, "by its user"), "Abc", name="answer"))
    view = assembly.find(5)
    assert view is not None and deltas == ["Abc"]
    assert (view.state, view.reason, view.name, view.whole) == ("cancelled", "by its user", "answer", True)


@pytest.mark.parametrize(
    ("operation", "content", "state"),
    [
        (op(Op.APPEND, 5), "tail", "open"),
        (op(Op.REPLACE, 5), "tail", "open"),
        (op(Op.REOPEN, 5), "", "open"),
        (op(Op.CLOSE, 5, COMPLETE), "", "complete"),
        (op(Op.REMOVE, 5), "", "removed"),
    ],
)
def test_without_its_beginning_a_message_is_not_whole(operation: Operation, content: str, state: str) -> None:
    late = record(9, operation, content)
    assembly = Assembly()
    assert assembly.lacks(late)
    assembly.feed(late)
    view = assembly.find(5)
    assert view is not None and not view.whole and view.name is None
    assert (view.content, view.state) == (content, state)
    assert assembly.lacks(record(10, operation, content))


def test_what_is_folded_makes_it_whole_also_at_the_same_place() -> None:
    assembly, deltas = fed(record(9, op(Op.APPEND, 5), "tail"), record(9, op(Op.FOLDED, 5), "all but tail"))
    assert deltas == ["tail", None]
    assert assembly.messages[5].whole
    assert not assembly.lacks(record(10, op(Op.APPEND, 5), "x"))


def test_openings_and_plain_records_lack_nothing() -> None:
    assembly = Assembly()
    assert not any(map(assembly.lacks, (OPEN, record(1, None, "x"), record(9, op(Op.FOLDED, 5), "x"))))


def test_closed_messages_are_forgotten_the_oldest_first() -> None:
    assembly = Assembly()
    for message in range(1, 2 * (CLOSED_KEPT + 2), 2):
        assembly.feed(record(message, op(Op.OPEN), "x"))
        assembly.feed(record(message + 1, op(Op.CLOSE, message, COMPLETE)))
    assert [assembly.find(message) is None for message in (1, 3, 5)] == [True, True, False]
    assembly.clear()
    assert assembly.find(5) is None


def test_a_message_learned_from_elsewhere() -> None:
    assembly = Assembly()
    assembly.feed(OPEN)
    other, _ = fed(record(9, op(Op.FOLDED, 5), "Abc"))
    change = assembly.put(other.messages[5])
    assert change.delta == "bc"
    assert assembly.messages[5] is change.message
    assert assembly.feed(record(8, op(Op.APPEND, 5), "c")) is None
