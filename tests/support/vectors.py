"""How frames and records are written in protocol/vectors/*.json, both ways."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from outlast_protocol import Frame, Record, Role, batch
from outlast_protocol.frames import SPECS, Published
from outlast_protocol.operations import operation_row, read_operation

FOLDER = Path(__file__).parents[2] / "protocol" / "vectors"
# Whole numbers that not every JSON reader keeps exact are text; no other text there looks like them.
EXACT_MAX = 2**53 - 1
_BIG = re.compile(r"[0-9]{16,20}")
_HEX_FIELDS = {"batch", "batches"}
_CLASSES = {spec.cls.__name__.upper(): spec.cls for spec in SPECS}
ROLES = {"client": Role.CLIENT, "broker": Role.BROKER}


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def to_json(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if value <= EXACT_MAX else str(value)
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, str):
        assert not _BIG.fullmatch(value), "a text of digits only would be read as a number"
        return value
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return [to_json(item) for item in value]


def from_json(value: Any) -> Any:
    if isinstance(value, str):
        return int(value) if _BIG.fullmatch(value) else value
    if isinstance(value, dict) and value.keys() == {"bytes"}:
        return bytes.fromhex(value["bytes"])
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def frame_to_json(frame: Frame) -> dict[str, Any]:
    """Every field by its name, those at their defaults too; batches as hexadecimal."""
    fields = frame._asdict().items()
    return {name: value.hex() if name in _HEX_FIELDS else to_json(value) for name, value in fields}


def frame_from_json(kind: str, fields: dict[str, Any]) -> Frame:
    values: dict[str, Any] = {
        name: bytes.fromhex(value) if name in _HEX_FIELDS else from_json(value) for name, value in fields.items()
    }
    if kind == "PUBLISHED":
        return Published([(request, offset, duplicate) for request, offset, duplicate in values["acks"]])
    frame: Frame = _CLASSES[kind](**values)
    return frame


def record_to_json(record: Record) -> dict[str, Any]:
    """`data` is hexadecimal; text and JSON are given as text too, as a reader shows them. `operation` is its array."""
    operation = None if record.operation is None else operation_row(record.operation)
    shown = record._asdict() | {"headers": dict(record.headers), "operation": operation}
    text = {"text": record.data.decode("utf-8", "replace")} if record.encoding else {}
    return {**to_json({k: v for k, v in shown.items() if k != "data"}), "data": record.data.hex(), **text}


def label_from_json(record: dict[str, Any]) -> batch.LabelKey:
    """The label that a written record asks for."""
    row, ttl_ms = from_json(record["operation"]), from_json(record["ttl_ms"])
    start = (record["encoding"], record["name"], tuple(sorted(record["headers"].items())))
    return (*start, None if row is None else read_operation(row), ttl_ms) if row or ttl_ms else start
