from __future__ import annotations

import json
from typing import Any

import pytest
from outlast_broker.web.problem import Problem
from outlast_broker.web.record_json import (
    data_json,
    loads,
    operation_json,
    operation_of,
    record_json,
    row_of,
    state_row,
    too_large,
)
from outlast_protocol import Encoding, Record
from outlast_protocol.operations import MessageState, Op, Operation

EPOCH = 0xC0FFEE


def record(data: bytes, encoding: Encoding = Encoding.JSON, **more: Any) -> Record:
    return Record(3, 1_700, "alice", more.pop("name", None), more.pop("headers", {}), encoding, data, **more)


# --- out --------------------------------------------------------------------------------------------------


def test_a_record_says_what_it_has() -> None:
    said = json.loads(record_json(record(b'{"a": 1}', name="n", headers={"h": "v"}, ttl_ms=5), EPOCH))
    assert said == {
        "offset": 3, "position": "0000000000c0ffee:3", "time_ms": 1_700, "client_id": "alice", "name": "n",
        "headers": {"h": "v"}, "ttl_ms": 5, "encoding": "json", "data": {"a": 1},
    }  # fmt: skip
    assert json.loads(record_json(record(b"hi", Encoding.TEXT), EPOCH)).keys() == {
        "offset", "position", "time_ms", "client_id", "encoding", "data",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "data", "name", "text"),
    [
        (Encoding.TEXT, "ü\n".encode(), "text", '"\\u00fc\\n"'),
        (Encoding.TEXT, b"\xff", "text", '"\\ufffd"'),
        (Encoding.BYTES, b"\x00\x01", "base64", '"AAE="'),
        (Encoding.JSON, b"1.10", "json", "1.10"),
        (Encoding.JSON, b"12345678901234567890123", "json", "12345678901234567890123"),
        (Encoding.JSON, b'{\n"a":\r\n1}', "json", '{ "a":  1}'),
        (Encoding.JSON, b"NaN", "base64", '"TmFO"'),
        (Encoding.JSON, b"{", "base64", '"ew=="'),
        (Encoding.JSON, b'"\xff"', "base64", '"Iv8i"'),
        (Encoding.JSON, b"[" * 100_000, "base64", None),
    ],
)
def test_data_is_given_as_what_it_is(encoding: Encoding, data: bytes, name: str, text: str | None) -> None:
    """What is JSON stays what it is, digit by digit; what only says so does not spoil what is around it."""
    said = data_json(encoding, data)
    assert said[0] == name and text in (said[1], None)
    json.loads(said[1])


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (Operation(Op.OPEN), {"op": "open"}),
        (Operation(Op.APPEND, 41), {"op": "append", "message": 41}),
        (Operation(Op.CLOSE, 41, MessageState.COMPLETE), {"op": "close", "message": 41, "state": "complete"}),
        (Operation(Op.FOLDED, 41), {"op": "folded", "message": 41, "state": "open"}),
        (Operation(Op.FOLDED, 41, MessageState.ERROR, "x"),
         {"op": "folded", "message": 41, "state": "error", "reason": "x"}),
        (Operation(Op.SET, key="k", version=0), {"op": "set", "key": "k", "version": 0}),
        (Operation(Op.INCREMENT, key="k", by=-2), {"op": "increment", "key": "k", "by": -2}),
        (Operation(Op.LAPSED, lease="w", token=7), {"op": "lapsed", "lease": "w", "token": 7}),
    ],
)  # fmt: skip
def test_an_operation_says_what_its_kind_has(operation: Operation, said: dict[str, Any]) -> None:
    assert operation_json(operation) == said


def test_a_row_of_the_state() -> None:
    assert json.loads(state_row(["k", 5, 1_700, "alice", 1, b"v"])) == {
        "key": "k", "version": 5, "time_ms": 1_700, "client_id": "alice", "encoding": "text", "data": "v",
    }  # fmt: skip


# --- in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "row"),
    [
        ({"data": "x"}, ((1, None, ()), b"x")),
        ({"data": {"a": [1, None]}}, ((2, None, ()), b'{"a":[1,null]}')),
        ({"data": None}, ((2, None, ()), b"null")),
        ({"data": "x", "encoding": "json"}, ((2, None, ()), b'"x"')),
        ({"data": "AAE=", "encoding": "base64"}, ((0, None, ()), b"\0\1")),
        ({"data": "x", "name": "n", "headers": {"b": "1", "a": "2"}}, ((1, "n", (("a", "2"), ("b", "1"))), b"x")),
        ({"data": "x", "ttl_ms": 9}, ((1, None, (), None, 9), b"x")),
    ],
)
def test_a_record_out_of_json(item: object, row: object) -> None:
    assert row_of(item) == row


@pytest.mark.parametrize(
    "item",
    [
        1, None, [], {}, {"date": 1}, {"data": 1, "nmae": "x"}, {"data": 1, "name": 1}, {"data": 1, "headers": []},
        {"data": 1, "headers": {"a": 1}}, {"data": 1, "ttl_ms": -1}, {"data": 1, "ttl_ms": True},
        {"data": 1, "ttl_ms": 1.5}, {"data": 1, "ttl_ms": 2**53}, {"data": 1, "encoding": "text"},
        {"data": "*", "encoding": "base64"}, {"data": 1, "encoding": "yaml"}, {"data": 1, "encoding": []},
        {"data": "\ud800"}, {"data": float("inf")}, {"data": ["\ud800"], "encoding": "json"},
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(item: object) -> None:
    with pytest.raises(Problem) as caught:
        row_of(item)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("item", "operation", "raw"),
    [
        ({"op": "set", "key": "k", "data": 1}, Operation(Op.SET, key="k"), b"1"),
        ({"op": "set", "key": "k", "data": "v", "version": 0}, Operation(Op.SET, key="k", version=0), b"v"),
        ({"op": "unset", "key": "k", "version": 5}, Operation(Op.UNSET, key="k", version=5), b""),
        ({"op": "increment", "key": "k", "by": -3}, Operation(Op.INCREMENT, key="k", by=-3), b""),
    ],
)
def test_an_operation_out_of_json(item: object, operation: Operation, raw: bytes) -> None:
    label, data = operation_of(item)
    assert label[3] == operation and data == raw  # type: ignore[misc]


@pytest.mark.parametrize(
    "item",
    [
        1, {}, {"op": "open"}, {"op": []}, {"op": "set", "key": "k"}, {"op": "set", "key": 1, "data": 1},
        {"op": "set", "key": "", "data": 1}, {"op": "unset", "key": "k", "data": 1},
        {"op": "unset", "key": "k", "version": -1}, {"op": "unset", "key": "k", "version": True},
        {"op": "increment", "key": "k", "by": 1.0}, {"op": "increment", "key": "k", "by": 2**53},
        {"op": "increment", "key": "k"},
    ],
)  # fmt: skip
def test_what_is_no_operation_is_refused(item: object) -> None:
    with pytest.raises(Problem) as caught:
        operation_of(item)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b"[-Infinity]", b"[" * 100_000, b"1" * 10_000, b"1 2"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="not JSON"):
        loads(body)


def test_a_body_that_is_too_large_says_how_large_it_may_be() -> None:
    assert too_large(7).status == 413 and "7 bytes" in too_large(7).text
