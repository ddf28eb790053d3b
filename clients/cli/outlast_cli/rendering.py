"""Records as people and programs read them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from outlast import Data, Record
from outlast_protocol.operations import Op, Operation

from .terminal import paint, visible

Render = Callable[[Record], bytes]
# Operations whose data is no content: a close has its reason there.
WITHOUT_CONTENT = frozenset({Op.CLOSE, Op.REMOVE, Op.REOPEN, Op.UNSET, Op.INCREMENT, Op.LAPSED})


def json_line(value: Any) -> bytes:
    """One line of UTF-8. A lone surrogate, which UTF-8 cannot say, is written as JSON's escape for it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def as_json(record: Record) -> bytes:
    """As `record_fields`, in one line."""
    return json_line(record_fields(record))


def record_fields(record: Record) -> dict[str, Any]:
    """offset, position, time, name, client_id, data; headers, ttl_ms and operation if there are any."""
    fields: dict[str, Any] = {
        "offset": record.offset,
        "position": str(record.position),
        "time": record.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "name": record.name,
        "client_id": record.client_id,
        "data": json_data(record.data),
    }
    if record.headers:
        fields["headers"] = dict(record.headers)
    if record.ttl_ms:
        fields["ttl_ms"] = record.ttl_ms
    if record.operation is not None:
        fields["operation"] = operation_fields(record.operation)
    return fields


def operation_fields(operation: Operation) -> dict[str, Any]:
    """What it is, and of the rest what it says."""
    said = {key: value for key, value in operation._asdict().items() if key != "op" and value not in ("", None)}
    fields: dict[str, Any] = {"op": operation.op.name.lower()}
    if operation.op in (Op.CLOSE, Op.FOLDED):
        fields["state"] = operation.state.name.lower()
    return fields | {key: value for key, value in said.items() if key != "state" and (value or key == "version")}


def json_data(data: Data) -> Any:
    """Bytes have no place in JSON: they become {"base64": ...}."""
    return {"base64": b64encode(data).decode()} if isinstance(data, bytes) else data


def as_data(record: Record) -> bytes:
    """Just the data and a line's end: bytes and text as they are, JSON in one line. Nothing for what has none."""
    data = record.data
    if record.operation is not None and record.operation.op in WITHOUT_CONTENT:
        return b""
    if isinstance(data, bytes):
        return data + b"\n"
    return data.encode() + b"\n" if isinstance(data, str) else json_line(data)


def as_columns(record: Record) -> bytes:
    """For a terminal: offset, local time, client, name, the operation if it is one, data."""
    clock = record.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    cells = [
        paint(f"{record.offset:>8}", "cyan"),
        paint(clock, dim=True),
        paint(visible(record.client_id)[:12].ljust(12), dim=True),
        paint(visible(record.name or "-")[:12].ljust(12), "yellow"),
        *([] if record.operation is None else [paint(visible(operation_text(record.operation)), "magenta")]),
        visible(one_line(record.data)),
    ]
    return ("  ".join(cells) + "\n").encode("utf-8", "backslashreplace")


def operation_text(operation: Operation) -> str:
    """As `close 5 complete`, `set key`."""
    fields = operation_fields(operation)
    return " ".join(str(value) for value in fields.values())


def one_line(data: Data) -> str:
    if isinstance(data, bytes):
        return repr(data)
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def choose_render(wants_json: bool, on_terminal: bool) -> Render:
    if wants_json:
        return as_json
    return as_columns if on_terminal else as_data
