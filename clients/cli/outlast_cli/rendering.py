"""Records as people and programs read them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from outlast import Data, Record

from .terminal import paint, visible

Render = Callable[[Record], bytes]


def json_line(value: Any) -> bytes:
    """One line of UTF-8. A lone surrogate, which UTF-8 cannot say, is written as JSON's escape for it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def as_json(record: Record) -> bytes:
    """offset, position, time, name, client_id, data; headers if there are any."""
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
    return json_line(fields)


def json_data(data: Data) -> Any:
    """Bytes have no place in JSON: they become {"base64": ...}."""
    return {"base64": b64encode(data).decode()} if isinstance(data, bytes) else data


def as_data(record: Record) -> bytes:
    """Just the data and a line's end: bytes and text as they are, JSON in one line."""
    data = record.data
    if isinstance(data, bytes):
        return data + b"\n"
    return data.encode() + b"\n" if isinstance(data, str) else json_line(data)


def as_columns(record: Record) -> bytes:
    """For a terminal: offset, local time, client, name, data."""
    clock = record.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    cells = [
        paint(f"{record.offset:>8}", "cyan"),
        paint(clock, dim=True),
        paint(visible(record.client_id)[:12].ljust(12), dim=True),
        paint(visible(record.name or "-")[:12].ljust(12), "yellow"),
        visible(_one_line(record.data)),
    ]
    return ("  ".join(cells) + "\n").encode("utf-8", "backslashreplace")


def _one_line(data: Data) -> str:
    if isinstance(data, bytes):
        return repr(data)
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def choose_render(wants_json: bool, on_terminal: bool) -> Render:
    if wants_json:
        return as_json
    return as_columns if on_terminal else as_data
