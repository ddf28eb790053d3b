"""Records as JSON, and JSON as records (docs/http.md). Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from outlast_protocol import Encoding, Position, Record
from outlast_protocol.batch import LabelKey, encode_data
from outlast_protocol.operations import MESSAGE_OPS, WHOLE_MAX, MessageState, Op, Operation

from .problem import Problem, bad_request

ROW_KEYS = {"data", "encoding", "name", "headers", "ttl_ms"}


# --- out --------------------------------------------------------------------------------------------------


def record_json(record: Record, epoch: int) -> str:
    """One line of JSON. What is JSON already goes in as it is: its numbers stay what they were."""
    said: dict[str, Any] = {
        "offset": record.offset,
        "position": str(Position(epoch, record.offset)),
        "time_ms": record.time_ms,
        "client_id": record.client_id,
    }
    if record.name is not None:
        said["name"] = record.name
    if record.headers:
        said["headers"] = dict(record.headers)
    if record.ttl_ms:
        said["ttl_ms"] = record.ttl_ms
    if record.operation is not None:
        said["operation"] = operation_json(record.operation)
    return with_data(said, record.encoding, record.data)


def with_data(said: dict[str, Any], encoding: int, data: bytes) -> str:
    """`said` with the encoding and the data at its end."""
    name, text = data_json(encoding, data)
    said["encoding"] = name
    return f'{json.dumps(said)[:-1]}, "data": {text}}}'


def data_json(encoding: int, data: bytes) -> tuple[str, str]:
    """How it is encoded, and the data as JSON. What claims to be JSON and is not is given in base64."""
    if encoding == Encoding.TEXT:
        return "text", json.dumps(data.decode("utf-8", "replace"))
    if encoding == Encoding.JSON:
        text = _json_as_it_is(data)
        if text is not None:
            return "json", text
    return "base64", json.dumps(base64.b64encode(data).decode())


def _json_as_it_is(data: bytes) -> str | None:
    try:
        text = data.decode()
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    # Between tokens only, where any space will do: a line is what an event is made of.
    return text.replace("\r", " ").replace("\n", " ")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def operation_json(operation: Operation) -> dict[str, Any]:
    """The keys that its kind has."""
    said: dict[str, Any] = {"op": operation.op.name.lower()}
    if operation.op in MESSAGE_OPS and operation.op is not Op.OPEN:
        said["message"] = operation.message
    if operation.op in (Op.CLOSE, Op.FOLDED):
        said["state"] = operation.state.name.lower()
    if operation.op is Op.FOLDED and operation.state is not MessageState.OPEN:
        said["reason"] = operation.reason
    if operation.key:
        said["key"] = operation.key
    if operation.version is not None:
        said["version"] = operation.version
    if operation.op is Op.INCREMENT:
        said["by"] = operation.by
    if operation.op is Op.LAPSED:
        said |= {"lease": operation.lease, "token": operation.token}
    return said


def state_row(row: list[Any]) -> str:
    """A row of ATTACHED or STATE."""
    key, version, time_ms, client_id, encoding, data = row
    said = {"key": key, "version": version, "time_ms": time_ms, "client_id": client_id}
    return with_data(said, encoding, data)


# --- in ---------------------------------------------------------------------------------------------------


def loads(body: bytes) -> Any:
    """Raises Problem."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {str(error)[:100]}", "send JSON in UTF-8") from None


def row_of(item: object) -> tuple[LabelKey, bytes]:
    """The label and the raw data of what `item` says. Raises Problem."""
    known = checked(item, ROW_KEYS, {"data"}, "a record")
    encoding, raw = raw_data(known)
    name = text_or_none(known, "name")
    headers = {} if known.get("headers") is None else known["headers"]
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise bad_request("headers map text to text")
    ttl_ms = 0 if known.get("ttl_ms") is None else known["ttl_ms"]
    check_ttl_ms(ttl_ms)
    return label_of(encoding, name, headers, ttl_ms), raw


def label_of(encoding: int, name: str | None, headers: Mapping[str, str], ttl_ms: int) -> LabelKey:
    """Without a time to live it is what any client can read."""
    items = tuple(sorted(headers.items()))
    return (encoding, name, items, None, ttl_ms) if ttl_ms else (encoding, name, items)


def operation_of(item: object) -> tuple[LabelKey, bytes]:
    """The label and the value of one change of the state. Raises Problem."""
    if not isinstance(item, dict) or not isinstance(item.get("op"), str) or item["op"] not in _STATE_OPS:
        raise bad_request(f'an operation is an object whose "op" is one of {", ".join(_STATE_OPS)}')
    op, allowed, required = _STATE_OPS[item["op"]]
    known = checked(item, allowed, required, item["op"])
    key, version, by = known["key"], known.get("version"), known.get("by", 0)
    if not isinstance(key, str) or not key:
        raise bad_request("a key is text that is not empty")
    if version is not None and not _whole(version, 0, 2**63 - 1):
        raise bad_request("a version is an offset: 0 or more")
    if not _whole(by, -WHOLE_MAX, WHOLE_MAX):
        raise bad_request("by is a whole number within 2^53 - 1")
    encoding, raw = raw_data(known) if op is Op.SET else (Encoding.BYTES, b"")
    return (int(encoding), None, (), Operation(op, key=key, version=version, by=by), 0), raw


_STATE_OPS: dict[str, tuple[Op, set[str], set[str]]] = {
    "set": (Op.SET, {"op", "key", "data", "encoding", "version"}, {"key", "data"}),
    "unset": (Op.UNSET, {"op", "key", "version"}, {"key"}),
    "increment": (Op.INCREMENT, {"op", "key", "by"}, {"key", "by"}),
}


def checked(item: object, allowed: set[str], required: set[str], what: str) -> dict[str, Any]:
    """An object with these keys. Raises Problem."""
    if not isinstance(item, dict):
        raise bad_request(f"{what} is an object")
    if unknown := item.keys() - allowed:
        shown = ", ".join(sorted(repr(key[:40]) for key in unknown)[:5])
        raise bad_request(f"{what} has no {shown}; it has {', '.join(sorted(allowed))}")
    if missing := required - item.keys():
        raise bad_request(f"{what} lacks {', '.join(sorted(missing))}")
    return item


def raw_data(known: dict[str, Any]) -> tuple[int, bytes]:
    """What `data` is as bytes: text, else JSON, unless `encoding` says what it is. Raises Problem."""
    data, encoding = known["data"], known.get("encoding")
    try:
        if encoding is None:
            kind, raw = encode_data(data)
            return int(kind), raw
        if encoding == "json":
            return int(Encoding.JSON), json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        if encoding == "text" and isinstance(data, str):
            return int(Encoding.TEXT), data.encode()
        if encoding == "base64" and isinstance(data, str):
            return int(Encoding.BYTES), base64.b64decode(data, validate=True)
    except (ValueError, RecursionError, binascii.Error) as error:
        raise bad_request(f"data cannot be encoded: {str(error)[:100]}") from None
    raise bad_request('encoding is "text" or "base64" of text, or "json" of anything')


def text_or_none(known: dict[str, Any], key: str) -> str | None:
    value = known.get(key)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{key} is text")
    return value


def check_ttl_ms(ttl_ms: object) -> None:
    if not _whole(ttl_ms, 0, WHOLE_MAX):
        raise bad_request("ttl_ms is a whole number of milliseconds below 2^53; 0 is none")


def _whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def too_large(bytes_max: int) -> Problem:
    return Problem(413, "frame_too_large", f"a body has at most {bytes_max} bytes", "send it in parts")
