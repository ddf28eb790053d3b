from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, strategies as st
from outlast_protocol import ErrorCode, ProtocolError, batch, limits
from outlast_protocol.operations import (
    BROKERS_OWN,
    MESSAGE_OPS,
    STATE_OPS,
    WHOLE_MAX,
    MessageState,
    Op,
    Operation,
    is_for_clients,
    operation_row,
    read_operation,
)
from outlast_protocol.position import OFFSET_MAX

from tests.protocol.bad_batches import OPERATIONS as BAD_ROWS, SESSION_LABELS, labelled, operating
from tests.support.bounds import bounded
from tests.support.samples import CLIENT_ID
from tests.support.strategies import BROKER_OPERATIONS, CLIENT_OPERATIONS, OPERATIONS

CLIENT = CLIENT_ID.encode()
# What is well formed, and in these rows for the broker alone to write.
FOR_BROKER = {"close as interrupted, by a client", "folded, by a client", "lapsed, by a client"}


def refused(row: object) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        read_operation(row)
    assert caught.value.code is ErrorCode.BAD_BATCH
    return caught.value


# --- both ways --------------------------------------------------------------------------------------------

ROWS: list[tuple[list[int | str], Operation]] = [
    ([1], Operation(Op.OPEN)),
    ([2, 1], Operation(Op.APPEND, 1)),
    ([2, OFFSET_MAX], Operation(Op.APPEND, OFFSET_MAX)),
    ([3, 42, 1], Operation(Op.CLOSE, 42, MessageState.COMPLETE)),
    ([3, 42, 2], Operation(Op.CLOSE, 42, MessageState.CANCELLED)),
    ([3, 42, 3], Operation(Op.CLOSE, 42, MessageState.ERROR)),
    ([3, 42, 4], Operation(Op.CLOSE, 42, MessageState.INTERRUPTED)),
    ([4, 42], Operation(Op.REPLACE, 42)),
    ([5, 42], Operation(Op.REMOVE, 42)),
    ([6, 42], Operation(Op.REOPEN, 42)),
    ([7, 42, 0, ""], Operation(Op.FOLDED, 42, MessageState.OPEN)),
    ([7, 42, 2, "Zoë"], Operation(Op.FOLDED, 42, MessageState.CANCELLED, "Zoë")),
    ([7, 42, 5, ""], Operation(Op.FOLDED, 42, MessageState.REMOVED)),
    ([16, "k"], Operation(Op.SET, key="k")),
    ([16, "k", 0], Operation(Op.SET, key="k", version=0)),
    ([16, "k" * 255, OFFSET_MAX], Operation(Op.SET, key="k" * 255, version=OFFSET_MAX)),
    ([17, "é" * 127], Operation(Op.UNSET, key="é" * 127)),
    ([17, "k", 0], Operation(Op.UNSET, key="k", version=0)),
    ([18, "k", 0], Operation(Op.INCREMENT, key="k")),
    ([18, "k", WHOLE_MAX], Operation(Op.INCREMENT, key="k", by=WHOLE_MAX)),
    ([18, "k", -WHOLE_MAX], Operation(Op.INCREMENT, key="k", by=-WHOLE_MAX)),
    ([32, "writer", 1], Operation(Op.LAPSED, lease="writer", token=1)),
    ([32, "é" * 64, OFFSET_MAX], Operation(Op.LAPSED, lease="é" * 64, token=OFFSET_MAX)),
]


@pytest.mark.parametrize(("row", "operation"), ROWS, ids=[str(row)[:24] for row, _ in ROWS])
def test_an_operation_and_its_array_are_one(row: list[int | str], operation: Operation) -> None:
    read = read_operation(row)
    assert read == operation and type(read.op) is Op and type(read.state) is MessageState
    assert list(operation_row(operation)) == row


def test_every_operation_has_an_array() -> None:
    assert {operation.op for _, operation in ROWS} == set(Op)


@bounded(300)
@given(OPERATIONS)
def test_operations_travel(operation: Operation) -> None:
    row = operation_row(operation)
    assert read_operation(msgpack.unpackb(msgpack.packb(row))) == operation
    assert all(type(item) in (int, str) for item in row), "an enum is nobody's business on the wire"


def test_every_operation_belongs_to_one_thing() -> None:
    assert MESSAGE_OPS.isdisjoint(STATE_OPS) and set(Op) - {Op.LAPSED} == MESSAGE_OPS | STATE_OPS


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BAD_ROWS if name not in FOR_BROKER])
def test_what_is_no_operation_is_refused(name: str) -> None:
    refused(BAD_ROWS[name])


@pytest.mark.parametrize(
    "row",
    [None, 1, "open", b"\x01", {1: 2}, True, [[1]], [None], [True], [1.0], [32, "writer", 0], [32, "writer", True],
     [32, "writer", 2**63], [32, "", 1], [32, "w" * 129, 1], [32, "a\0b", 1], [7, 0, 1, ""], [7, True, 1, ""],
     [7, 1, True, ""], [7, 1, -1, ""], [7, 1, 1, b""], [7, 1, 1, None], [7, 1, 1, "", 0]],
    ids=str,
)  # fmt: skip
def test_what_nobody_may_write_is_refused_too(row: object) -> None:
    refused(row)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_nobody_publishes_what_is_no_operation(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(operating(BAD_ROWS[name]), CLIENT)
    assert caught.value.code is ErrorCode.BAD_BATCH


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4) | st.just(b"1"),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
CODES = st.sampled_from([*map(int, Op), 0, 8, 19, True, 1.0])


@bounded(400)
@given(st.lists(JUNK, max_size=4) | st.builds(lambda code, rest: [code, *rest], CODES, st.lists(JUNK, max_size=3)))
def test_any_array_is_an_operation_that_is_written_so_or_refused(row: list[Any]) -> None:
    try:
        operation = read_operation(row)
    except ProtocolError as error:
        assert error.code is ErrorCode.BAD_BATCH and len(error.message) < 200
        return
    written = list(operation_row(operation))
    assert written == row and list(map(type, written)) == list(map(type, row)), "true is not 1, and 1.0 is not"


def test_a_refusal_does_not_walk_into_what_was_sent() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    for row in (deep, [2, deep], [16, "k" * 1_000_000], [b"x" * 1_000_000], {"k": deep}, "k" * 1_000_000):
        assert len(refused(row).message) < 200


# --- who may say it ---------------------------------------------------------------------------------------


@bounded(100)
@given(CLIENT_OPERATIONS)
def test_what_clients_may_publish(operation: Operation) -> None:
    assert is_for_clients(operation)


@bounded(100)
@given(BROKER_OPERATIONS)
def test_what_the_broker_alone_says(operation: Operation) -> None:
    assert not is_for_clients(operation)
    assert operation.op in BROKERS_OWN or operation.state is MessageState.INTERRUPTED


def session(client_id: str, operation: Operation, encoding: int = 1) -> bytes:
    return batch.encode_labelled(client_id, [((encoding, None, (), operation, 0), b"")])


@bounded(100)
@given(BROKER_OPERATIONS)
def test_a_client_is_refused_what_the_broker_says_in_its_own_name(operation: Operation) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(session(CLIENT_ID, operation), CLIENT)
    assert caught.value.code is ErrorCode.BAD_BATCH and "for the broker alone" in caught.value.message
    assert batch.check_batch(session("", operation), b"") == 1
    [record] = batch.read_records(batch.stamp(session(CLIENT_ID, operation), 1, 1))
    assert record.operation == operation, "what the store holds is read, whoever opened the message"


# --- labels that bear them --------------------------------------------------------------------------------


@bounded(200)
@given(CLIENT_OPERATIONS)
def test_an_operation_is_read_from_its_record(operation: Operation) -> None:
    published = session(CLIENT_ID, operation)
    assert batch.check_batch(published, CLIENT) == 1
    [record] = batch.read_records(batch.stamp(published, 7, 8))
    assert (record.offset, record.operation, record.ttl_ms) == (7, operation, 0)


@pytest.mark.parametrize("ttl_ms", [1, 1_000, 2**53 - 1])
def test_a_time_to_live_is_read_from_its_record(ttl_ms: int) -> None:
    published = batch.encode_labelled(CLIENT_ID, [((0, None, (), None, ttl_ms), b"x")])
    assert batch.check_batch(published, CLIENT) == 1
    [record] = batch.read_records(batch.stamp(published, 1, 1))
    assert (record.operation, record.ttl_ms) == (None, ttl_ms)


@pytest.mark.parametrize("ttl_ms", [-1, 2**53, True])
def test_a_time_to_live_out_of_bounds_is_refused_where_it_is_made(ttl_ms: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.encode_labelled(CLIENT_ID, [((0, None, (), None, ttl_ms), b"x")])
    assert caught.value.code is ErrorCode.BAD_BATCH


@pytest.mark.parametrize("labels", SESSION_LABELS.values(), ids=list(SESSION_LABELS))
def test_bad_labels_of_kind_1_are_refused(labels: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(labelled(labels, kind=batch.KIND_SESSION), CLIENT)
    assert caught.value.code is ErrorCode.BAD_BATCH


LONG_LABELS = [[1, "a", {}, None], [1, None, {}, [1]], [0, None, {}, None, 1]]


@pytest.mark.parametrize("label", LONG_LABELS)
def test_in_kind_0_a_label_has_three_items(label: list[Any]) -> None:
    """The same table in kind 1 is right, and having seen it there does not let it pass here."""
    assert batch.check_batch(labelled([label], kind=batch.KIND_SESSION), CLIENT) == 1
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(labelled([label]), CLIENT)
    assert caught.value.code is ErrorCode.BAD_BATCH
    assert batch.check_batch(labelled([label], kind=batch.KIND_SESSION), CLIENT) == 1


def test_the_kind_is_what_the_labels_ask_for() -> None:
    plain: batch.LabelKey = (1, None, ())
    opening: batch.LabelKey = (1, None, (), Operation(Op.OPEN), 0)
    assert batch.encode_labelled(CLIENT_ID, [(plain, b"")])[24] == batch.KIND_RECORDS
    assert batch.encode_labelled(CLIENT_ID, [(plain, b""), (opening, b"")])[24] == batch.KIND_SESSION


@pytest.mark.parametrize(
    ("operation", "label"),
    [
        (Operation(Op.OPEN), (2, None, ())),
        (Operation(Op.APPEND, 1), (2, None, ())),
        (Operation(Op.REPLACE, 1), (2, None, ())),
        (Operation(Op.APPEND, 1), (1, "name", ())),
        (Operation(Op.APPEND, 1), (1, None, (("k", "v"),))),
        (Operation(Op.CLOSE, 1, MessageState.COMPLETE), (1, "name", ())),
        (Operation(Op.REMOVE, 1), (1, "", ())),
        (Operation(Op.REOPEN, 1), (1, None, (("k", "v"),))),
    ],
)
def test_what_the_label_of_a_growing_message_may_not_say(
    operation: Operation, label: tuple[int, str | None, batch.HeaderItems]
) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.encode_labelled(CLIENT_ID, [((*label, operation, 0), b"")])
    assert caught.value.code is ErrorCode.BAD_BATCH


@pytest.mark.parametrize("op", [Op.OPEN, Op.FOLDED])
def test_name_and_headers_are_those_of_open(op: Op) -> None:
    headers = (("k" * 768, "v" * 32_000),)
    row: tuple[batch.LabelKey, bytes] = ((1, "n", headers, Operation(op, int(op is Op.FOLDED)), 0), b"")
    [record] = batch.read_records(batch.stamp(batch.encode_labelled(CLIENT_ID, [row]), 1, 1))
    assert (record.name, tuple(record.headers.items())) == ("n", headers)


@pytest.mark.parametrize("headers_bytes", [0, 900_000])
def test_a_message_with_everything_at_its_longest_folds_into_one_batch(headers_bytes: int) -> None:
    """A reason that is not UTF-8 grows when it is read as text."""
    each = headers_bytes // limits.RECORD_HEADERS_MAX
    headers = tuple((f"{at:02}", "v" * (each - 2)) for at in range(limits.RECORD_HEADERS_MAX)) if each else ()
    folded = Operation(Op.FOLDED, OFFSET_MAX, MessageState.ERROR, "\ufffd" * limits.REASON_BYTES_MAX)
    content = bytes(limits.MESSAGE_BYTES_MAX - limits.RECORD_NAME_BYTES_MAX - len(headers) * each)
    row: tuple[batch.LabelKey, bytes] = ((0, "n" * 255, headers, folded, 0), content)
    assert len(batch.encode_labelled("c" * limits.CLIENT_ID_BYTES_MAX, [row])) <= limits.BATCH_BYTES_MAX
