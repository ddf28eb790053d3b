"""Batches: the unit of publishing, storing and delivering (PROTOCOL.md section 4).

The same bytes travel from publisher to disk to every reader. The broker stamps the head and never
touches the rest, so the checksum that the publisher computed is the one that the reader verifies.

     0  u32 length         of the whole batch
     4  u32 crc            CRC-32 of everything from byte 24 on
     8  u64 offset         of the first record        } zero until the broker
    16  u64 time_ms        when it was accepted       } stamps the batch
    24  u8  kind           0: records, 1: session records, 2: a tile
    25  u8  client_length
    26  u16 zero
    28  u32 count          records, at least 1
    32  u32 labels_length
    36      client         client_id of the publisher, UTF-8
            labels         msgpack array of [encoding, name?, headers?, operation?, ttl_ms?]; empty: one label [0]
            lengths        u32[count]                 of each record's data
            label_index    u16[count]                 only when there is more than one label
            data           the records' data, end to end

Vectors come up front so that checking a batch takes a few calls into C, whatever its count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, TypeAlias
from zlib import crc32

import msgpack

from .errors import ErrorCode, ProtocolError
from .limits import (
    BATCH_BYTES_MAX,
    BATCH_LABELS_MAX,
    BATCH_RECORDS_MAX,
    CLIENT_ID_BYTES_MAX,
    RECORD_HEADERS_MAX,
    RECORD_NAME_BYTES_MAX,
)
from .operations import (
    CARRIES_CONTENT,
    MESSAGE_OPS,
    NAMED_OPS,
    WHOLE_MAX,
    Op,
    Operation,
    is_for_clients,
    operation_row,
    read_operation,
)
from .words import pack_words, read_words

HEAD = Struct("<IIQQBBHII")
STAMP = Struct("<IIQQ")
_PLACE = Struct("<QQ")
_FRONT = Struct("<BBHII")
HEAD_BYTES = HEAD.size
_head: Callable[[bytes, int], tuple[int, int, int, int, int, int, int, int, int]] = HEAD.unpack_from
STAMP_BYTES = STAMP.size
# Where the kind stands in a batch.
KIND_AT = 24
KIND_RECORDS = 0
KIND_SESSION = 1
KIND_TILE = 2
# Only small label tables are remembered: what a peer can make us keep stays around 20 MB.
_LABELS_KEPT_BYTES_MAX = 512
_LABELS_KEPT = 1_024
# By kind: the items that a label may have.
_LABEL_ITEMS_MAX = {KIND_RECORDS: 3, KIND_SESSION: 5}

Data = bytes | str | int | float | bool | None | list["Data"] | dict[str, "Data"]
Headers = Mapping[str, str]
HeaderItems: TypeAlias = tuple[tuple[str, str], ...]
# What makes labels equal: encoding, name, sorted headers; operation and ttl_ms in session records.
LabelKey: TypeAlias = tuple[int, str | None, HeaderItems] | tuple[int, str | None, HeaderItems, Operation | None, int]


class Encoding(IntEnum):
    """What a record's data was before it became bytes."""

    BYTES = 0
    TEXT = 1
    JSON = 2


class Label(NamedTuple):
    """What records of one batch have in common: stored once, referred to by index."""

    encoding: int
    name: str | None
    headers: Mapping[str, str]
    operation: Operation | None = None
    ttl_ms: int = 0


class Record(NamedTuple):
    """One record as it lies in the log. `data` is raw; `decoded()` gives back what was published."""

    offset: int
    time_ms: int
    client_id: str
    name: str | None
    headers: Mapping[str, str]
    encoding: int
    data: bytes
    operation: Operation | None = None
    ttl_ms: int = 0

    def decoded(self) -> Data:
        """What was published. Raises ValueError when data that claims to be JSON is not."""
        return DECODERS[self.encoding](self.data)


class Span(NamedTuple):
    """Where one batch lies in a run of batches: bytes [start, end), records offset .. last."""

    start: int
    end: int
    offset: int
    time_ms: int
    records: int

    @property
    def last(self) -> int:
        return self.offset + self.records - 1


def _read_json(data: bytes) -> Data:
    try:
        value: Data = json.loads(data.decode())
    except RecursionError:
        raise ValueError("JSON nested too deeply to be read") from None
    return value


DECODERS: dict[int, Callable[[bytes], Data]] = {
    Encoding.BYTES: bytes,
    Encoding.TEXT: lambda data: data.decode("utf-8", "replace"),
    Encoding.JSON: _read_json,
}
_NO_HEADERS: Mapping[str, str] = {}
_PLAIN = (Label(Encoding.BYTES, None, _NO_HEADERS),)


def encode_data(data: Data) -> tuple[Encoding, bytes]:
    """How `data` travels. Raises TypeError or ValueError for what JSON cannot say."""
    if isinstance(data, bytes):
        return Encoding.BYTES, data
    if isinstance(data, str):
        return Encoding.TEXT, data.encode()
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("data nested too deeply for JSON") from None
    return Encoding.JSON, text.encode()


def encode_batch(client_id: str, records: Sequence[tuple[Data, str | None, Headers | None]]) -> bytes:
    """An unstamped batch of (data, name, headers). Raises ProtocolError when it breaks a limit."""
    if not 1 <= len(records) <= BATCH_RECORDS_MAX:
        raise _bad(f"{len(records)} records in a batch, allowed are 1 to {BATCH_RECORDS_MAX}")
    rows: list[tuple[LabelKey, bytes]] = []
    for data, name, headers in records:
        encoding, raw = encode_data(data)
        rows.append(((int(encoding), name, tuple(sorted(headers.items())) if headers else ()), raw))
    return encode_labelled(client_id, rows)


def encode_labelled(client_id: str, rows: Sequence[tuple[LabelKey, bytes]]) -> bytes:
    """An unstamped batch of (label, raw data); its kind is what the labels ask for."""
    labels: dict[LabelKey, int] = {}
    index = [labels.setdefault(label, len(labels)) for label, _ in rows]
    datas = [data for _, data in rows]
    vectors = pack_words("I", map(len, datas)) + (pack_words("H", index) if len(labels) > 1 else b"")
    kind = KIND_SESSION if any(len(label) > 3 for label in labels) else KIND_RECORDS
    return assemble(client_id.encode(), pack_labels(labels), len(rows), b"".join((vectors, *datas)), kind)


def assemble(client: bytes, labels: bytes, count: int, rest: bytes, kind: int = KIND_RECORDS) -> bytes:
    """The unstamped batch with these parts; `rest` is vectors and data."""
    if len(client) > CLIENT_ID_BYTES_MAX:
        raise _bad(f"the client_id has {len(client)} bytes, allowed are {CLIENT_ID_BYTES_MAX}")
    length = HEAD_BYTES + len(client) + len(labels) + len(rest)
    if length > BATCH_BYTES_MAX:
        raise _bad(f"the batch has {length} bytes, allowed are {BATCH_BYTES_MAX}")
    tail = HEAD.pack(0, 0, 0, 0, kind, len(client), 0, count, len(labels))[STAMP_BYTES:]
    covered = b"".join((tail, client, labels, rest))
    return STAMP.pack(length, crc32(covered), 0, 0) + covered


def check_batch(batch: bytes, client: bytes, kind_max: int = KIND_SESSION) -> int:
    """How many records `batch` holds, once everything in it has been checked (PROTOCOL.md 4.3).

    `client` is the connection's own client_id: nobody publishes in another's name. Kinds above `kind_max` are refused.
    """
    size = len(batch)
    if size < HEAD_BYTES:
        raise _bad(f"{size} bytes are too few for a batch")
    length, crc, offset, time_ms, kind, client_length, zero, count, labels_length = _head(batch, 0)
    if length != size or size > BATCH_BYTES_MAX:
        raise _bad(f"length says {length} of {size} bytes, allowed are {BATCH_BYTES_MAX}")
    if offset or time_ms or zero:
        raise _bad("offset, time and reserved must be zero until the broker stamps them")
    if crc32(batch[STAMP_BYTES:]) != crc:
        raise ProtocolError(ErrorCode.BAD_CHECKSUM, "the batch does not match its checksum")
    if kind > kind_max:
        raise ProtocolError(ErrorCode.UNSUPPORTED_KIND, f"batch kind {kind} is not taken here", kind=kind)
    if labels_length > BATCH_LABELS_MAX:  # a label has at least a byte
        _check_labels_count(batch[HEAD_BYTES + client_length :][:labels_length])
    _, brokers_own = _data_start(batch, client, HEAD_BYTES + client_length + labels_length + 4 * count, count)
    if brokers_own is not None and client:
        raise _bad(f"{list(operation_row(brokers_own))[:3]} is for the broker alone to say")
    return count


def _check_labels_count(table: bytes) -> None:
    """Before they are unpacked. A table that cannot hold what it claims is left to be refused as that."""
    try:
        count, _ = _array_head(table)
    except (IndexError, ValueError):
        return
    if BATCH_LABELS_MAX < count <= len(table):
        text = f"the batch has {count} different labels, allowed are {BATCH_LABELS_MAX}"
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="batch_labels", value=BATCH_LABELS_MAX)


def _data_start(batch: bytes, client: bytes, lengths_end: int, count: int) -> tuple[int, Operation | None]:
    """Where the data begins, once client, labels, lengths and indexes have been found to fit; and as `_read_front`."""
    front = batch[STAMP_BYTES:lengths_end]
    read = _read_short_front if len(front) <= _FRONT_KEPT_BYTES_MAX else _read_front
    labels, data_bytes, brokers_own = read(front, client)
    start = lengths_end + (2 * count if labels > 1 else 0)
    if start + data_bytes != len(batch):
        raise _bad("the records' lengths do not add up to the batch's length")
    if labels > 1 and max(read_words("H", batch, lengths_end, start)) >= labels:
        raise _bad("a record refers to a label that is not there")
    return start, brokers_own


def _read_front(front: bytes, client: bytes) -> tuple[int, int, Operation | None]:
    """Checks what lies between the stamp and the label index.

    Returns how many labels there are, the bytes of data that it promises, and an operation that no client may publish.
    """
    kind, client_length, _, count, labels_length = _FRONT.unpack_from(front)
    labels_start = _FRONT.size + client_length
    lengths_start = labels_start + labels_length
    if not 1 <= count <= BATCH_RECORDS_MAX or lengths_start + 4 * count > len(front):
        raise _bad(f"count is {count}: allowed are 1 to {BATCH_RECORDS_MAX}, and as many as the bytes hold")
    if front[_FRONT.size : labels_start] != client:
        raise ProtocolError(ErrorCode.CLIENT_MISMATCH, "the batch is stamped with another client_id")
    labels = read_labels(front[labels_start:lengths_start], kind)
    operations = (label.operation for label in labels if label.operation is not None)
    brokers_own = next((each for each in operations if not is_for_clients(each)), None)
    return len(labels), sum(read_words("I", front, lengths_start, len(front))), brokers_own


# One publisher's messages are much alike: a few fronts come again and again.
_FRONT_KEPT_BYTES_MAX = 256
_read_short_front = lru_cache(maxsize=4096)(_read_front)


def stamp(batch: bytes, offset: int, time_ms: int) -> bytes:
    """The batch as it is stored and delivered. `batch` has been checked."""
    return batch[:8] + _PLACE.pack(offset, time_ms) + batch[STAMP_BYTES:]


def read_labels(packed: bytes, kind: int = KIND_SESSION) -> tuple[Label, ...]:
    """The label table. A stream of tokens repeats the same few tables for ever, so small ones are cached."""
    if not packed:
        return _PLAIN
    read = _read_small_table if len(packed) <= _LABELS_KEPT_BYTES_MAX else _read_table
    return read(packed, _LABEL_ITEMS_MAX[kind])


def _read_table(packed: bytes, items_max: int) -> tuple[Label, ...]:
    try:
        rows = _unpack_rows(packed, items_max)
    except Exception as error:  # msgpack raises a dozen kinds on hostile input
        raise _bad(f"labels are not a msgpack array: {type(error).__name__}") from None
    if not rows:
        raise _bad("labels must have at least one label")
    return tuple(_read_label(row) for row in rows)


_read_small_table = lru_cache(maxsize=_LABELS_KEPT)(_read_table)


def _unpack_rows(packed: bytes, items_max: int) -> list[object]:
    """The rows of a table. Only the outermost array may be long: msgpack sets aside what an array claims."""
    count, start = _array_head(packed)
    if count > min(len(packed), BATCH_RECORDS_MAX):
        raise ValueError("more labels than bytes or records")
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(packed), max_array_len=items_max, max_map_len=RECORD_HEADERS_MAX, max_ext_len=0
    )
    unpacker.feed(packed[start:])
    rows = [unpacker.unpack() for _ in range(count)]
    if unpacker.tell() != len(packed) - start:
        raise ValueError("bytes after the last label")
    return rows


def _array_head(packed: bytes) -> tuple[int, int]:
    """What the msgpack array at the start of `packed` claims to hold, and where its items begin."""
    match packed[0]:
        case head if 0x90 <= head <= 0x9F:
            return head - 0x90, 1
        case 0xDC:
            return int.from_bytes(packed[1:3], "big"), 3
        case 0xDD:
            return int.from_bytes(packed[1:5], "big"), 5
    raise ValueError("not an array")


def _read_label(row: object) -> Label:
    match row:
        case [encoding]:
            label = Label(_read_encoding(encoding), None, _NO_HEADERS)
        case [encoding, str() | None as name]:
            label = Label(_read_encoding(encoding), name, _NO_HEADERS)
        case [encoding, str() | None as name, dict(headers)]:
            label = Label(_read_encoding(encoding), name, headers)
        case [encoding, str() | None as name, dict(headers), operation]:
            label = Label(_read_encoding(encoding), name, headers, _read_operation(operation))
        case [encoding, str() | None as name, dict(headers), None, ttl_ms]:
            label = Label(_read_encoding(encoding), name, headers, None, _read_ttl_ms(ttl_ms))
        case _:
            raise _bad(
                "a label is [encoding, name, headers, operation, ttl_ms] or a beginning of that, one of the two nil"
            )
    if len((label.name or "").encode()) > RECORD_NAME_BYTES_MAX:
        raise _bad(f"a record's name is longer than {RECORD_NAME_BYTES_MAX} bytes")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in label.headers.items()):
        raise _bad("headers map text to text")
    if label.operation is not None and label.operation.op in MESSAGE_OPS:
        _check_message_label(label, label.operation.op)
    return label


def _read_encoding(encoding: object) -> int:
    if type(encoding) is not int or encoding not in DECODERS:
        raise _bad("an encoding is 0 bytes, 1 text or 2 JSON")
    return encoding


def _read_ttl_ms(ttl_ms: object) -> int:
    if type(ttl_ms) is not int or not 0 < ttl_ms <= WHOLE_MAX:
        raise _bad("ttl_ms is a whole number from 1 to 2^53 - 1")
    return ttl_ms


def _check_message_label(label: Label, op: Op) -> None:
    """What a growing message is made of (PROTOCOL.md 4.5)."""
    if op in CARRIES_CONTENT and label.encoding == Encoding.JSON:
        raise _bad("a growing message is bytes or text: JSON cannot be added to")
    if op not in NAMED_OPS and (label.name is not None or label.headers):
        raise _bad(f"{op.name.lower()} carries no name and no headers: they are those of open")


def _read_operation(row: object) -> Operation | None:
    return None if row is None else read_operation(row)


def spans(batches: bytes, start: int = 0) -> Iterator[Span]:
    """The batches that lie end to end in `batches`. Raises ProtocolError where one cannot begin or end."""
    end = len(batches)
    while start < end:
        if end - start < HEAD_BYTES:
            raise _bad(f"{end - start} bytes at the end are too few for a batch")
        length, _, offset, time_ms, _, _, _, count, _ = _head(batches, start)
        if not HEAD_BYTES <= length <= end - start:
            raise _bad(f"the batch at offset {offset} says it has {length} of {end - start} bytes")
        yield Span(start, start + length, offset, time_ms, count)
        start += length


def read_records(batches: bytes) -> list[Record]:
    """Every record in a run of stamped batches. Raises ProtocolError for bytes that are not such a run."""
    records: list[Record] = []
    for span in spans(batches):
        _read_batch(batches[span.start : span.end], records)
    return records


def _read_batch(batch: bytes, records: list[Record]) -> None:
    _, crc, offset, time_ms, kind, client_length, _, count, labels_length = _head(batch, 0)
    if crc32(batch[STAMP_BYTES:]) != crc:
        raise ProtocolError(ErrorCode.BAD_CHECKSUM, f"the batch at offset {offset} does not match its checksum")
    if kind == KIND_TILE:
        _read_tile(batch, records)
        return
    if kind not in _LABEL_ITEMS_MAX:
        raise ProtocolError(ErrorCode.UNSUPPORTED_KIND, f"batch kind {kind} is not known here", kind=kind)
    labels_start = HEAD_BYTES + client_length
    lengths_start = labels_start + labels_length
    index_start = lengths_start + 4 * count
    client = batch[HEAD_BYTES:labels_start]
    position, _ = _data_start(batch, client, index_start, count)
    client_id = client.decode("utf-8", "replace")
    labels = read_labels(batch[labels_start:lengths_start], kind)
    index = read_words("H", batch, index_start, position) if len(labels) > 1 else bytes(count)
    for length, which in zip(read_words("I", batch, lengths_start, index_start), index, strict=True):
        encoding, name, headers, operation, ttl_ms = labels[which]
        data = batch[position : position + length]
        records.append(Record(offset, time_ms, client_id, name, headers, encoding, data, operation, ttl_ms))
        offset += 1
        position += length


def common_record(batch: bytes) -> Record | None:
    """What a checked batch's records would be as one, if they all have one label; without place, time and client."""
    _, _, _, _, _, client_length, _, count, labels_length = _head(batch, 0)
    labels_start = HEAD_BYTES + client_length
    lengths_start = labels_start + labels_length
    labels = read_labels(batch[labels_start:lengths_start])
    if len(labels) > 1:
        return None
    encoding, name, headers, operation, ttl_ms = labels[0]
    return Record(0, 0, "", name, headers, encoding, batch[lengths_start + 4 * count :], operation, ttl_ms)


def _read_tile(tile: bytes, records: list[Record]) -> None:
    """What a tile holds must lie within its offsets, in order, and be no tile (PROTOCOL.md 4.7)."""
    _, _, offset, _, _, client_length, zero, count, labels_length = _head(tile, 0)
    if client_length or zero or labels_length or not count:
        raise _bad(f"the tile at offset {offset} has a client or labels, or stands for nothing")
    last = offset + count - 1
    for span in spans(tile, HEAD_BYTES):
        if tile[span.start + KIND_AT] == KIND_TILE:
            raise _bad(f"the tile at offset {offset} holds a tile")
        if not offset <= span.offset <= span.last <= last:
            raise _bad(f"the tile up to offset {last} holds offset {span.offset} where {offset} or later is due")
        _read_batch(tile[span.start : span.end], records)
        offset = span.last + 1


def pack_labels(labels: Iterable[LabelKey]) -> bytes:
    """The label table. Raises ProtocolError when a label breaks a limit."""
    rows = [_label_row(label) for label in labels]
    if rows == [[Encoding.BYTES]]:
        return b""
    packed: bytes = msgpack.packb(rows)
    read_labels(packed)
    return packed


def _label_row(label: LabelKey) -> list[object]:
    """As short as its meaning allows."""
    if len(label) == 3:
        encoding, name, headers = label
        row: list[object] = [encoding, name, dict(headers)] if headers else [encoding, name]
        return row if row != [encoding, None] else [encoding]
    encoding, name, headers, operation, ttl_ms = label
    row = [encoding, name, dict(headers), None if operation is None else operation_row(operation)]
    return [*row, ttl_ms] if ttl_ms else row


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_BATCH, message)
