from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st
from outlast_broker.state import Entry, Totals, apply_state, totals_of
from outlast_protocol import Encoding, ErrorCode, ProtocolError
from outlast_protocol.limits import STATE_BYTES_MAX, STATE_KEYS_MAX, STATE_VALUE_BYTES_MAX
from outlast_protocol.operations import WHOLE_MAX, Op, Operation

from tests.support.bounds import bounded
from tests.support.state_model import StateModel

HELD = {
    "name": Entry(3, 1_000, "ada", Encoding.TEXT, b"Ada"),
    "count": Entry(5, 2_000, "bob", Encoding.JSON, b"41"),
}


def apply(operation: Operation, data: bytes = b"", encoding: int = 0, held: Mapping[str, Entry] = HELD) -> Entry | None:
    return apply_state(operation, encoding, data, 9, 5_000, "eve", held.get)


def refusal(operation: Operation, data: bytes = b"", held: Mapping[str, Entry] = HELD) -> ProtocolError:
    with pytest.raises(ProtocolError) as raised:
        apply(operation, data, held=held)
    return raised.value


def test_set_writes_what_the_record_says() -> None:
    assert apply(Operation(Op.SET, key="name"), b"\xff", Encoding.BYTES) == Entry(9, 5_000, "eve", 0, b"\xff")
    assert apply(Operation(Op.SET, key="new"), b"", Encoding.TEXT) == Entry(9, 5_000, "eve", 1, b"")


def test_unset_leaves_no_key_behind_and_needs_none() -> None:
    assert apply(Operation(Op.UNSET, key="name")) is None
    assert apply(Operation(Op.UNSET, key="new")) is None


@pytest.mark.parametrize(("key", "by", "total"), [("count", 1, b"42"), ("count", -50, b"-9"), ("new", 7, b"7")])
def test_increment_writes_the_sum_as_json(key: str, by: int, total: bytes) -> None:
    assert apply(Operation(Op.INCREMENT, key=key, by=by)) == Entry(9, 5_000, "eve", Encoding.JSON, total)


@pytest.mark.parametrize("op", [Op.SET, Op.UNSET])
def test_a_version_must_be_the_keys(op: Op) -> None:
    apply(Operation(op, key="count", version=5))
    apply(Operation(op, key="new", version=0))
    for key, asked, version in (("count", 4, 5), ("count", 0, 5), ("new", 5, 0)):
        error = refusal(Operation(op, key=key, version=asked))
        assert error.code is ErrorCode.VERSION_MISMATCH
        assert error.detail == {"key": key, "version": version}
        assert f"{key!r} is at version {version}, not {asked}" in error.message


def test_only_whole_numbers_count() -> None:
    for held in (HELD["name"], Entry(1, 1, "ada", Encoding.TEXT, b"41"), Entry(1, 1, "ada", Encoding.JSON, b"1.5")):
        error = refusal(Operation(Op.INCREMENT, key="name", by=1), held={"name": held})
        assert (error.code, error.detail) == (ErrorCode.NOT_A_NUMBER, {"key": "name"})


def test_a_sum_has_bounds() -> None:
    full = {"count": Entry(1, 1, "ada", Encoding.JSON, b"%d" % WHOLE_MAX)}
    error = refusal(Operation(Op.INCREMENT, key="count", by=1), held=full)
    assert (error.code, error.detail) == (ErrorCode.NOT_A_NUMBER, {"key": "count"})


@pytest.mark.parametrize("key", ["", "a\nb", "\x7f", "x" * 256, "é" * 128])
def test_a_key_has_a_form(key: str) -> None:
    for op in (Op.SET, Op.UNSET, Op.INCREMENT):
        assert refusal(Operation(op, key=key)).code is ErrorCode.BAD_BATCH
    apply(Operation(Op.SET, key="é" * 127 + "x"), b"1")


def test_unset_and_increment_have_no_data() -> None:
    for op in (Op.UNSET, Op.INCREMENT):
        error = refusal(Operation(op, key="count"), b"1")
        assert error.code is ErrorCode.BAD_BATCH
        assert "has no data" in error.message


def test_a_value_has_so_many_bytes() -> None:
    apply(Operation(Op.SET, key="name"), bytes(STATE_VALUE_BYTES_MAX))
    error = refusal(Operation(Op.SET, key="name"), bytes(STATE_VALUE_BYTES_MAX + 1))
    assert error.code is ErrorCode.LIMIT_EXCEEDED
    assert error.detail == {"limit": "state_value_bytes", "value": STATE_VALUE_BYTES_MAX}


# --- totals -----------------------------------------------------------------------------------------------


def entry(size: int) -> Entry:
    return Entry(1, 1, "ada", 0, bytes(size))


def test_keys_and_values_are_counted() -> None:
    assert totals_of({}) == Totals(0, 0)
    assert totals_of({"é": entry(10), "b": entry(0)}) == Totals(2, 13)
    assert Totals(2, 13).after("é", entry(10), entry(4)) == Totals(2, 7)
    assert Totals(2, 13).after("é", entry(10), None) == Totals(1, 1)
    assert Totals(2, 13).after("c", None, None) == Totals(2, 13)


def test_a_state_has_so_many_keys() -> None:
    full = Totals(STATE_KEYS_MAX, 10_000)
    with pytest.raises(ProtocolError) as raised:
        full.after("one more", None, entry(1))
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    assert raised.value.detail == {"limit": "state_keys", "value": STATE_KEYS_MAX}
    assert full.after("a", entry(1), entry(2)) == Totals(STATE_KEYS_MAX, 10_001)


def test_a_state_has_so_many_bytes() -> None:
    full = Totals(9, STATE_BYTES_MAX - 11)
    assert full.after("k", None, entry(10)) == Totals(10, STATE_BYTES_MAX)
    with pytest.raises(ProtocolError) as raised:
        full.after("k", None, entry(11))
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    assert raised.value.detail == {"limit": "state_bytes", "value": STATE_BYTES_MAX}


def test_a_state_that_is_over_its_bounds_may_shrink() -> None:
    over = Totals(STATE_KEYS_MAX + 2, STATE_BYTES_MAX + 100)
    assert over.after("k", entry(50), None) == Totals(STATE_KEYS_MAX + 1, STATE_BYTES_MAX + 49)


# --- rows -------------------------------------------------------------------------------------------------


def test_an_entry_survives_the_store() -> None:
    for held in HELD.values():
        assert Entry.unpack(held.pack()) == held


def test_a_row_is_what_the_wire_says() -> None:
    assert HELD["name"].row("name") == ["name", 3, 1_000, "ada", 1, b"Ada"]


# --- against a plain dict ---------------------------------------------------------------------------------


class Call(NamedTuple):
    """`condition` picks the version that is asked for: none, the right one, "no such key", or a wrong one."""

    op: Op
    key: str
    value: object
    by: int
    condition: str


CALLS = st.builds(
    Call,
    st.sampled_from([Op.SET, Op.SET, Op.UNSET, Op.INCREMENT]),
    st.sampled_from("abc"),
    st.one_of(st.integers(-(2**54), 2**54), st.sampled_from([1.5, "5", None, True, [1]])),
    st.integers(-5, 5) | st.sampled_from([WHOLE_MAX, -WHOLE_MAX]),
    st.sampled_from(["any", "any", "right", "absent", "wrong"]),
)


def operation_of(call: Call, model: StateModel, offset: int) -> Operation:
    if call.op is Op.INCREMENT:
        return Operation(call.op, key=call.key, by=call.by)
    asked = {"any": None, "right": model.version(call.key), "absent": 0, "wrong": offset + 1}
    return Operation(call.op, key=call.key, version=asked[call.condition])


@bounded(300)
@given(st.lists(CALLS, max_size=25))
def test_it_is_a_dict_with_versions(calls: list[Call]) -> None:
    model, entries, totals = StateModel(), dict[str, Entry](), Totals()
    for offset, call in enumerate(calls, 1):
        operation = operation_of(call, model, offset)
        data = json.dumps(call.value).encode() if call.op is Op.SET else b""
        refused = model.do(operation, call.value, offset)
        try:
            new = apply_state(operation, Encoding.JSON, data, offset, offset, "ada", entries.get)
        except ProtocolError as error:
            assert error.code is refused
            continue
        assert refused is None
        totals = totals.after(call.key, entries.get(call.key), new)
        entries.pop(call.key, None)
        entries.update({call.key: new} if new else {})
        assert {key: (each.version, json.loads(each.data)) for key, each in entries.items()} == model.held
        assert totals == totals_of(entries)
