"""Hypothesis strategies for everything that can travel: frames of every type, and data."""

from __future__ import annotations

import types
import typing
from typing import Any, Union

from hypothesis import strategies as st
from outlast_protocol import Data, Frame, batch
from outlast_protocol.frames import SPECS, Credit, Deliver, Hello, Published

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TEXT = st.text(max_size=20)

NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DATA: st.SearchStrategy[Data] = st.binary(max_size=64) | TEXT | JSON_LIKE
NAMES = st.none() | TEXT
HEADERS = st.none() | st.dictionaries(TEXT, TEXT, max_size=4)
RECORDS = st.lists(st.tuples(DATA, NAMES, HEADERS), min_size=1, max_size=8)
BATCHES = st.builds(batch.encode_batch, st.text(max_size=20), RECORDS)
RUNS = st.lists(st.builds(batch.stamp, BATCHES, U64, U64), min_size=1, max_size=3).map(b"".join)


def frames_of(cls: type[Any]) -> st.SearchStrategy[Frame]:
    """Valid frames of one type."""
    if cls is Published:
        return st.lists(st.tuples(U32, U64, st.booleans()), min_size=1, max_size=5).map(Published)
    fields = {name: _field(cls, name, hint) for name, hint in typing.get_type_hints(cls).items()}
    if cls is Hello:
        fields["producer"] = st.none() | st.lists(U64, min_size=2, max_size=2)
    return st.builds(cls, **fields)


def frames() -> st.SearchStrategy[Frame]:
    return st.sampled_from(SPECS).flatmap(lambda spec: frames_of(spec.cls))


def _field(cls: type[Any], name: str, hint: Any) -> st.SearchStrategy[Any]:
    if name == "batch":
        return BATCHES
    if name == "batches":
        return RUNS if cls is Deliver else st.just(b"") | RUNS
    if name == "request" or cls is Credit and name == "credit":
        return U32
    return _values(hint)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([_values(argument) for argument in arguments])
    if origin is list:
        return st.lists(_values(arguments[0]), max_size=4)
    if origin is dict:
        return st.dictionaries(TEXT, _values(arguments[1]), max_size=4)
    if hint is Any:
        return st.none() | st.booleans() | U64 | TEXT | st.lists(U64, max_size=3)
    return {int: U64, str: TEXT, bool: st.booleans(), type(None): st.none()}[hint]
