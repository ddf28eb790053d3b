"""Hypothesis strategies for everything that can travel: frames of every type, operations, tiles, and data."""

from __future__ import annotations

import types
import typing
from typing import Any, Union

from hypothesis import strategies as st
from outlast_protocol import Data, Encoding, Frame, batch
from outlast_protocol.frames import SPECS, Credit, Deliver, Hello, Published
from outlast_protocol.operations import WHOLE_MAX, MessageState, Op, Operation
from outlast_protocol.position import OFFSET_MAX
from outlast_protocol.tile import make_tile

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
PLAIN_BATCHES = st.builds(batch.encode_batch, st.text(max_size=20), RECORDS)

OFFSETS = st.integers(1, OFFSET_MAX)
KEYS = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), min_size=1, max_size=20)
CLOSED = st.sampled_from([MessageState.COMPLETE, MessageState.CANCELLED, MessageState.ERROR])
VERSIONS = st.none() | st.just(0) | OFFSETS


def _operations(*ops: Op, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.fixed_dictionaries({"op": st.sampled_from(ops), **fields}).map(lambda given: Operation(**given))


# What a client may publish, and what the broker alone writes.
CLIENT_OPERATIONS = st.one_of(
    _operations(Op.OPEN),
    _operations(Op.APPEND, Op.REPLACE, Op.REMOVE, Op.REOPEN, message=OFFSETS),
    _operations(Op.CLOSE, message=OFFSETS, state=CLOSED),
    _operations(Op.SET, Op.UNSET, key=KEYS, version=VERSIONS),
    _operations(Op.INCREMENT, key=KEYS, by=st.integers(-WHOLE_MAX, WHOLE_MAX)),
)
BROKER_OPERATIONS = st.one_of(
    _operations(Op.CLOSE, message=OFFSETS, state=st.just(MessageState.INTERRUPTED)),
    _operations(Op.FOLDED, message=OFFSETS, state=st.sampled_from(MessageState), reason=TEXT),
    _operations(Op.LAPSED, lease=KEYS, token=OFFSETS),
)
OPERATIONS = CLIENT_OPERATIONS | BROKER_OPERATIONS


def _label_of(operation: Operation) -> batch.LabelKey:
    """The plainest label that may bear the operation."""
    encoding = Encoding.JSON if operation.op is Op.SET else Encoding.TEXT
    return (int(encoding), "name" if operation.op is Op.OPEN else None, (), operation, 0)


LIVING = st.builds(lambda ttl_ms: (1, None, (("k", "v"),), None, ttl_ms), st.integers(1, WHOLE_MAX))
SESSION_ROWS = st.lists(
    st.tuples(CLIENT_OPERATIONS.map(_label_of) | LIVING, st.binary(max_size=20)), min_size=1, max_size=8
)
SESSION_BATCHES = st.builds(batch.encode_labelled, st.text(max_size=20), SESSION_ROWS)
BATCHES = PLAIN_BATCHES | SESSION_BATCHES


@st.composite
def tiles(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """A tile, and the offsets that it still holds."""
    first = offset = draw(st.integers(1, 2**40))
    run, held = [], []
    for each in draw(st.lists(BATCHES, max_size=4)):
        offset += draw(st.integers(0, 5))
        [span] = batch.spans(each)
        run.append(batch.stamp(each, offset, draw(st.integers(0, 2**50))))
        held += range(offset, offset + span.records)
        offset += span.records
    last = max(first, offset - 1 + draw(st.integers(0, 5)))
    return make_tile(first, last, draw(st.integers(0, 2**50)), b"".join(run)), held


STAMPED = st.builds(batch.stamp, BATCHES, U64, U64) | tiles().map(lambda tile: tile[0])
RUNS = st.lists(STAMPED, min_size=1, max_size=3).map(b"".join)


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
    return {int: U64, str: TEXT, bytes: st.binary(max_size=20), bool: st.booleans(), type(None): st.none()}[hint]
