"""Messages turned into bytes: the same bytes as the protocol's own encoder, of exactly the size said before."""

from __future__ import annotations

from typing import Any

import pytest
from outlast.rows import about, batch_bytes, encode_rows, make_row, row_bytes_max
from outlast_protocol import Data
from outlast_protocol.batch import check_batch, encode_batch, read_records
from outlast_protocol.operations import Op, Operation
from outlast_protocol.position import OFFSET_MAX

Message = tuple[Data, str | None, dict[str, str] | None]
MANY: list[Message] = [(n, f"name-{n}", {"k": "v" * n}) for n in range(40)]
BATCHES: list[list[Message]] = [
    [(b"", None, None)],
    [(b"bytes", None, None)] * 3,
    [("text", None, None)],
    [("text", "token", None), ("more", "token", None)],
    [({"a": [1, None, True, 2.5]}, None, None)],
    [(b"x", None, {"trace": "1", "a": "ü"})],
    [(b"x", "", {})],
    [(b"a", None, None), ("b", "n" * 31, None), ([1], "n" * 32, {"h": "v"})],
    [(b"a", "n" * 255, {f"key-{i}": "v" * i for i in range(64)})],
    MANY,
]


@pytest.mark.parametrize("messages", BATCHES)
def test_the_protocols_encoder_gives_the_same_bytes(messages: list[Message]) -> None:
    rows = [make_row(*message) for message in messages]
    encoded = encode_rows("agent", rows)
    assert encoded == encode_batch("agent", messages)
    assert check_batch(encoded, b"agent") == len(messages)


@pytest.mark.parametrize("messages", BATCHES)
def test_sizes_are_known_before(messages: list[Message]) -> None:
    rows = [make_row(*message) for message in messages]
    encoded = encode_rows("agent", rows)
    assert batch_bytes("agent", rows) == len(encoded)
    assert len(encoded) <= 36 + 5 + 3 + sum(map(row_bytes_max, rows))


def test_what_changes_after_publishing_goes_out_as_it_was() -> None:
    data: dict[str, Data] = {"a": 1}
    row = make_row(data, None, None)
    data["a"] = 2
    assert read_records(encode_rows("agent", [row]))[0].decoded() == {"a": 1}


def cycle() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def deep() -> Any:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    return data


@pytest.mark.parametrize(
    ("data", "name", "headers", "error", "says"),
    [
        (object(), None, None, TypeError, "allowed are bytes, str, or what JSON can say"),
        (bytearray(b"x"), None, None, TypeError, "allowed are bytes"),
        ({"a": {1, 2}}, None, None, TypeError, "allowed are bytes"),
        (float("nan"), None, None, ValueError, "no NaN"),
        (cycle(), None, None, ValueError, "no cycles"),
        (deep(), None, None, ValueError, "data cannot be published"),
        ("\ud800", None, None, ValueError, "no lone surrogates"),
        (b"", 5, None, TypeError, "name is int"),
        (b"", ["n"], None, TypeError, "name is list"),
        (b"", "n" * 256, None, ValueError, "more than 255 bytes"),
        (b"", "ü" * 128, None, ValueError, "more than 255 bytes"),
        (b"", None, ["h"], TypeError, "headers are list"),
        (b"", None, {"h": 1}, TypeError, "must be text to text"),
        (b"", None, {1: "h"}, TypeError, "must be text to text"),
        (b"", None, {str(i): "" for i in range(65)}, ValueError, "65 headers, allowed are 64"),
    ],
    ids=range(15),
)
def test_bad_messages_say_what_is_allowed(
    data: Any, name: Any, headers: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_row(data, name, headers)


def test_an_operation_gets_its_message_when_that_is_known() -> None:
    row = about(make_row("a", operation=Operation(Op.APPEND, OFFSET_MAX)), 5)
    assert row == make_row("a", operation=Operation(Op.APPEND, 5))
    assert row_bytes_max(row) < row_bytes_max(make_row("a", operation=Operation(Op.APPEND, OFFSET_MAX)))
