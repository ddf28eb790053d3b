"""Bodies that are maps: a frame's fields to msgpack and back, checked by their types (PROTOCOL.md 3.1)."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple, Union

import msgpack

from .errors import ErrorCode, ProtocolError


class Malformed(NamedTuple):
    """Not a frame: what `receive` yields for one that is well framed but says nothing valid."""

    request: int
    error: ProtocolError


_REQUEST = Struct("<8xI")
# msgpack sets memory aside for what an array claims, at every level of nesting (PROTOCOL.md 3.1).
_ITEMS_MAX = 1_024
_KEYS_MAX = 4_096


def with_request(cls: type[Any]) -> bool:
    return "request" in cls._fields


def encode_map(frame: Any) -> bytes:
    """`u32 request` where there is one, then the fields that differ from their defaults."""
    defaults = frame._field_defaults
    body = {k: v for k, v in frame._asdict().items() if k != "request" and (k not in defaults or v != defaults[k])}
    packed: bytes = msgpack.packb(body)
    return frame.request.to_bytes(4, "little") + packed if with_request(type(frame)) else packed


def decoder(cls: type[Any], items_max: int = _ITEMS_MAX) -> Callable[[bytes, int, int], Any]:
    hints = typing.get_type_hints(cls)
    checks = {name: _check(hint) for name, hint in hints.items() if name != "request"}
    required = {name for name in checks if name not in cls._field_defaults}
    head = 12 if with_request(cls) else 8

    def decode(data: bytes, start: int, end: int) -> Any:
        request = {"request": _REQUEST.unpack_from(data, start)[0]} if head == 12 else {}
        try:
            body = _read_map(data[start + head : end], items_max)
            known = {name: value for name, value in body.items() if name in checks}
            for name, value in known.items():
                if not checks[name](value):
                    raise bad_body(f"{cls.__name__.upper()}: {name} is {hints[name]!r}, not {_short(value)}")
            if missing := required - known.keys():
                raise bad_body(f"{cls.__name__.upper()}: {', '.join(sorted(missing))} missing")
        except ProtocolError as error:
            return Malformed(request.get("request", 0), error)
        return cls(**request, **known)

    return decode


def _read_map(packed: bytes, items_max: int) -> dict[str, Any]:
    try:
        body = msgpack.unpackb(packed, max_array_len=items_max, max_map_len=_KEYS_MAX, max_ext_len=0)
    except Exception as error:  # msgpack raises a dozen kinds on hostile input
        raise bad_body(f"the body is not msgpack: {type(error).__name__}") from None
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise bad_body("the body is not a map with text keys")
    return body


def _check(hint: Any) -> Callable[[object], bool]:
    """A test for one field's type. Whole numbers on the wire are never negative."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        tests = [_check(argument) for argument in arguments]
        return lambda value: any(test(value) for test in tests)
    if origin is list:
        item = _check(arguments[0])
        return lambda value: isinstance(value, list) and all(item(each) for each in value)
    if origin in (dict, Mapping):
        item = _check(arguments[1])
        return lambda value: isinstance(value, dict) and all(isinstance(k, str) and item(v) for k, v in value.items())
    if hint is int:
        return lambda value: type(value) is int and value >= 0
    if hint is Any:
        return lambda value: True
    return lambda value: isinstance(value, hint)


def _short(value: object) -> str:
    """What was sent instead, without walking into it: a peer chooses its size and depth."""
    if isinstance(value, (str, bytes)):
        return repr(value[:32])
    return repr(value) if isinstance(value, (int, float, type(None))) else f"a {type(value).__name__}"


def bad_body(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_BODY, message)
