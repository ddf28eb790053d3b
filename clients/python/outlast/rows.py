"""Messages on their way out: checked and turned into bytes once, when they are published.

A row is one message as its batch will hold it. Its data is encoded here and not again later, so a list
or dict that the user changes after `publish` goes out as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from outlast_protocol import Data, Encoding, Headers
from outlast_protocol.batch import (
    HEAD_BYTES,
    KIND_RECORDS,
    KIND_SESSION,
    HeaderItems,
    LabelKey,
    assemble,
    encode_data,
    pack_labels,
)
from outlast_protocol.limits import RECORD_HEADERS_MAX, RECORD_NAME_BYTES_MAX
from outlast_protocol.operations import Operation
from outlast_protocol.words import pack_words

Label = LabelKey
_PLAIN: Label = (int(Encoding.BYTES), None, ())


class Row(NamedTuple):
    """`label` is what rows of one batch can share."""

    label: Label
    data: bytes


def make_row(
    data: Data,
    name: str | None = None,
    headers: Headers | None = None,
    operation: Operation | None = None,
    ttl_ms: int = 0,
) -> Row:
    """Raises TypeError or ValueError that says what is allowed. `ttl_ms` 0: for ever."""
    encoding, raw = _encode(data)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name is {type(name).__name__}, expected text or None")
    plain = _plain_label(int(encoding), name)
    if headers:
        plain = (*plain[:2], _header_items(headers))
    return Row(plain if operation is None and not ttl_ms else (*plain, operation, ttl_ms), raw)


def _encode(data: Data) -> tuple[Encoding, bytes]:
    try:
        return encode_data(data)
    except TypeError as error:
        allowed = "bytes, str, or what JSON can say (None, bool, int, float, list, dict with text keys)"
        raise TypeError(f"data cannot be published: {error}; allowed are {allowed}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"data cannot be published: {error}; JSON has no cycles, no NaN and no lone surrogates"
        ) from None


@lru_cache(maxsize=1024)
def _plain_label(encoding: int, name: str | None) -> tuple[int, str | None, HeaderItems]:
    """Checked once for each name: tokens by the thousand have the same."""
    if name is not None and len(name.encode()) > RECORD_NAME_BYTES_MAX:
        raise ValueError(f"name has more than {RECORD_NAME_BYTES_MAX} bytes of UTF-8: shorten it")
    return (encoding, name, ())


def _header_items(headers: Headers) -> tuple[tuple[str, str], ...]:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers are {type(headers).__name__}, expected a mapping of text to text")
    if len(headers) > RECORD_HEADERS_MAX:
        raise ValueError(f"{len(headers)} headers, allowed are {RECORD_HEADERS_MAX}: move some into the data")
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"header {key!r}: {value!r} must be text to text: turn both into str")
    return tuple(sorted(headers.items()))


def about(row: Row, message: int) -> Row:
    """An operation on a message, now that its offset is known."""
    assert len(row.label) == 5
    encoding, name, headers, operation, ttl_ms = row.label
    assert operation is not None, "only operations are about a message"
    return Row((encoding, name, headers, operation._replace(message=message), ttl_ms), row.data)


# --- sizes --------------------------------------------------------------------------------------------------


def row_bytes_max(row: Row) -> int:
    """At most so much does `row` add to a batch of several."""
    return len(row.data) + 6 + label_bytes(row.label)


def batch_bytes(client_id: str, rows: Sequence[Row]) -> int:
    """Exactly the length that `encode_rows` would give."""
    labels = {row.label for row in rows}
    table = 0
    if labels != {_PLAIN}:
        table = (1 if len(labels) < 16 else 3) + sum(map(label_bytes, labels))
    vectors = len(rows) * (6 if len(labels) > 1 else 4)
    return HEAD_BYTES + len(client_id.encode()) + table + vectors + sum(len(row.data) for row in rows)


@lru_cache(maxsize=1024)
def label_bytes(label: Label) -> int:
    """What msgpack makes of one label (PROTOCOL.md 4.2)."""
    if len(label) > 3:
        return len(pack_labels((label,))) - 1
    _, name, headers = label
    if not headers:
        return 2 + (0 if name is None else _text_bytes(name))
    texts = sum(_text_bytes(text) for pair in headers for text in pair)
    return 2 + (1 if name is None else _text_bytes(name)) + (1 if len(headers) < 16 else 3) + texts


def _text_bytes(text: str) -> int:
    size = len(text.encode())
    head = 1 if size < 32 else 2 if size < 256 else 3 if size < 65_536 else 5
    return head + size


# --- bytes --------------------------------------------------------------------------------------------------


def encode_rows(client_id: str, rows: Sequence[Row]) -> bytes:
    """The unstamped batch of `rows`."""
    labels: dict[Label, int] = {}
    index = [labels.setdefault(row.label, len(labels)) for row in rows]
    datas = [row.data for row in rows]
    vectors = pack_words("I", map(len, datas)) + (pack_words("H", index) if len(labels) > 1 else b"")
    table = _label_table(tuple(labels))
    kind = KIND_SESSION if any(len(label) > 3 for label in labels) else KIND_RECORDS
    return assemble(client_id.encode(), table, len(rows), b"".join((vectors, *datas)), kind)


@lru_cache(maxsize=256)
def _label_table(labels: tuple[Label, ...]) -> bytes:
    return pack_labels(labels)
