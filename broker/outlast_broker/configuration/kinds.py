"""The kinds of values that options have: how text becomes one, and how one is written. Pure.

`read` takes what a flag, a variable or the configuration file gives, and raises ValueError that says what is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .option import Details
from .quantities import exact_bytes, parse_bytes, parse_duration_ms, show_duration

_TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Kind(NamedTuple):
    """`quoted`: written as text in the file."""

    name: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    quoted: bool = True

    def in_file(self, value: Any) -> str:
        """As the configuration file has it."""
        if isinstance(value, tuple):
            return json.dumps(value, ensure_ascii=False)
        return json.dumps(self.show(value), ensure_ascii=False) if self.quoted else self.show(value)


def kind_of(name: str, hint: str, details: Details) -> Kind:
    """Of a field: its unit is at the end of its name."""
    kind = _plain_kind(name, hint, details)
    read = partial(_or_nothing, kind.read) if hint.endswith("| None") else kind.read
    return kind._replace(read=read if details.check is None else partial(_checked, read, details.check))


def _plain_kind(name: str, hint: str, details: Details) -> Kind:
    if details.one_of:
        return Kind("choice", partial(_choice, details.one_of))
    if name.endswith("_ms"):
        return Kind("duration", _duration, show_duration)
    if name.endswith("bytes"):
        return Kind("size", _size, exact_bytes)
    kinds = {
        "int": Kind("number", partial(_number, int, "a whole number", details.least), str, quoted=False),
        "float": Kind("number", partial(_number, float, "a number", details.least), str, quoted=False),
        "bool": Kind("flag", _flag, lambda value: "true" if value else "false", quoted=False),
        "str": Kind("text", _text),
        "Path": Kind("path", lambda given: Path(_text(given)), lambda value: "" if value is None else str(value)),
        "tuple[str, ...]": Kind("texts", _texts, " ".join),
    }
    return kinds[hint.removesuffix(" | None")]


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no text: put it in quotes")
    return given


def _texts(given: Any) -> tuple[str, ...]:
    """Of a list; or of one text, with spaces between."""
    return tuple(given.split()) if isinstance(given, str) else tuple(map(_text, given))


def _duration(given: Any) -> int:
    return parse_duration_ms(str(given))


def _size(given: Any) -> int:
    return parse_bytes(str(given))


def _number(number: type, allowed: str, least: int, given: Any) -> Any:
    try:
        value = number(str(given))
    except ValueError:
        raise ValueError(f"{given!r} is not {allowed}") from None
    if value < least:
        raise ValueError(f"{given} is too little: the least is {least}")
    return value


def _flag(given: Any) -> bool:
    try:
        return _TRUTHS[str(given).lower()]
    except KeyError:
        raise ValueError(f"{given!r} is neither true nor false") from None


def _choice(one_of: tuple[str, ...], given: Any) -> str:
    if given not in one_of:
        raise ValueError(f"{given!r} is not one of {', '.join(one_of)}")
    return str(given)


def _or_nothing(read: Callable[[Any], Any], given: Any) -> Any:
    return None if given == "" else read(given)


def _checked(read: Callable[[Any], Any], check: Callable[[Any], object], given: Any) -> Any:
    value = read(given)
    for each in value if isinstance(value, tuple) else (value,):
        check(each)
    return value
