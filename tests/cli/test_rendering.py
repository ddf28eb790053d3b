from __future__ import annotations

import json

import pytest
from outlast import Data, Record
from outlast_cli.rendering import as_columns, as_data, as_json, choose_render
from outlast_protocol.operations import MessageState, Op, Operation


def record(data: Data, name: str | None = None, headers: dict[str, str] | None = None) -> Record:
    return Record(42, data, name, headers or {}, "agent", 1_769_860_800_123, 0xC0FFEE)


def test_json_says_everything() -> None:
    line = as_json(record({"a": "ü"}, "token", {"k": "v"}))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == {
        "offset": 42,
        "position": "0000000000c0ffee:42",
        "time": "2026-01-31T12:00:00.123Z",
        "name": "token",
        "client_id": "agent",
        "data": {"a": "ü"},
        "headers": {"k": "v"},
    }


def test_json_leaves_headers_out_when_there_are_none() -> None:
    assert "headers" not in json.loads(as_json(record("x")))


def test_json_of_bytes() -> None:
    assert json.loads(as_json(record(b"\xff\x00")))["data"] == {"base64": "/wA="}


def test_json_survives_what_utf8_cannot_say() -> None:
    assert json.loads(as_json(record(["\ud800"])))["data"] == ["\ud800"]


@pytest.mark.parametrize(
    ("data", "line"), [("text ü", "text ü\n".encode()), (b"\xff", b"\xff\n"), ([1, None], b"[1,null]\n"), ("", b"\n")]
)
def test_plain_data(data: Data, line: bytes) -> None:
    assert as_data(record(data)) == line


def test_columns_do_not_let_data_steer_the_terminal() -> None:
    line = as_columns(record("\x1b[2Jgone\n", "na\x07me")).decode()
    assert "\\x1b[2Jgone\\n" in line and "na\\x07me" in line
    assert "\x1b" not in line and line.count("\n") == 1


def test_which_one() -> None:
    assert choose_render(True, True) is as_json
    assert choose_render(False, True) is as_columns
    assert choose_render(False, False) is as_data


def operating(operation: Operation, data: Data = "") -> Record:
    return record(data)._replace(operation=operation)


@pytest.mark.parametrize(
    ("operation", "fields", "text"),
    [
        (Operation(Op.OPEN), {"op": "open"}, "open"),
        (Operation(Op.APPEND, 5), {"op": "append", "message": 5}, "append 5"),
        (
            Operation(Op.CLOSE, 5, MessageState.ERROR),
            {"op": "close", "state": "error", "message": 5},
            "close error 5",
        ),
        (Operation(Op.SET, key="k", version=0), {"op": "set", "key": "k", "version": 0}, "set k 0"),
        (Operation(Op.INCREMENT, key="k", by=-2), {"op": "increment", "key": "k", "by": -2}, "increment k -2"),
        (Operation(Op.LAPSED, lease="w", token=3), {"op": "lapsed", "lease": "w", "token": 3}, "lapsed w 3"),
    ],
)
def test_operations(operation: Operation, fields: dict[str, object], text: str) -> None:
    assert json.loads(as_json(operating(operation)))["operation"] == fields
    assert f"  {text}  data" in as_columns(operating(operation, "data")).decode()


def test_operations_without_content_are_no_line_in_a_pipe() -> None:
    assert as_data(operating(Operation(Op.APPEND, 5), "token")) == b"token\n"
    assert as_data(operating(Operation(Op.CLOSE, 5, MessageState.ERROR), "no more")) == b""
