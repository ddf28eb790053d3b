from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from zlib import crc32

import msgpack
import pytest
from hypothesis import given
from outlast_protocol import Data, Encoding, ErrorCode, ProtocolError, batch, limits

from tests.support.bounds import bounded
from tests.support.samples import BATCH, CLIENT_ID
from tests.support.strategies import DATA, RECORDS

CLIENT = CLIENT_ID.encode()


def table(rows: object) -> bytes:
    packed: bytes = msgpack.packb(rows)
    return packed


def one_record(labels: bytes = b"", count: int = 1, rest: bytes = b"\x02\0\0\0hi") -> bytes:
    return batch.assemble(CLIENT, labels, count, rest)


def with_bytes(data: bytes, start: int, new: bytes) -> bytes:
    """`data` with `new` at `start` and the checksum right again."""
    changed = data[:start] + new + data[start + len(new) :]
    return changed[:4] + crc32(changed[24:]).to_bytes(4, "little") + changed[8:]


def refused(data: bytes, code: ErrorCode = ErrorCode.BAD_BATCH) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(data, CLIENT)
    assert caught.value.code is code
    return caught.value


# --- data -------------------------------------------------------------------------------------------------


@bounded(200)
@given(DATA)
def test_data_comes_back_as_it_was_published(data: Data) -> None:
    encoding, raw = batch.encode_data(data)
    record = batch.Record(1, 0, "", None, {}, encoding, raw)
    assert record.decoded() == data and type(record.decoded()) is type(data)


@pytest.mark.parametrize(
    ("data", "encoding", "raw"),
    [
        (b"", Encoding.BYTES, b""),
        ("", Encoding.TEXT, b""),
        ("é\0😀", Encoding.TEXT, "é\0😀".encode()),
        (None, Encoding.JSON, b"null"),
        (True, Encoding.JSON, b"true"),
        (2**70, Encoding.JSON, b"1180591620717411303424"),
        (-0.0, Encoding.JSON, b"-0.0"),
        ({"é": [1, {"b": None}]}, Encoding.JSON, '{"é":[1,{"b":null}]}'.encode()),
    ],
)
def test_how_data_travels(data: Data, encoding: Encoding, raw: bytes) -> None:
    assert batch.encode_data(data) == (encoding, raw)


def nested(depth: int) -> Data:
    data: Data = []
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize(
    "data",
    [float("nan"), float("inf"), "\ud800", ["\ud800"], {1, 2}, [b"bytes"], object(), nested(100_000)],
    ids=["nan", "infinity", "surrogate", "inner surrogate", "set", "inner bytes", "object", "too deep"],
)  # fmt: skip
def test_what_cannot_travel_is_a_type_or_value_error(data: Data) -> None:
    with pytest.raises((TypeError, ValueError)):
        batch.encode_data(data)


def test_text_that_is_not_utf8_is_read_with_replacements() -> None:
    assert batch.Record(1, 0, "", None, {}, Encoding.TEXT, b"a\xff").decoded() == "a\ufffd"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b"[" * 100_000, '"é"'.encode("utf-16")],
    ids=["empty", "cut off", "not UTF-8", "too deep", "UTF-16"],
)  # fmt: skip
def test_data_that_claims_to_be_json_and_is_not_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        batch.Record(1, 0, "", None, {}, Encoding.JSON, raw).decoded()


# --- batches that are right -------------------------------------------------------------------------------


@bounded(200)
@given(RECORDS)
def test_records_come_back_with_dense_offsets(
    records: list[tuple[Data, str | None, Mapping[str, str] | None]],
) -> None:
    published = batch.encode_batch(CLIENT_ID, records)
    assert batch.check_batch(published, CLIENT) == len(records)
    stamped = batch.stamp(published, 41, 1_700)
    read = batch.read_records(stamped)
    assert [record.offset for record in read] == list(range(41, 41 + len(records)))
    assert {record.time_ms for record in read} == {1_700}
    assert {record.client_id for record in read} == {CLIENT_ID}
    got = [(record.decoded(), record.name, dict(record.headers)) for record in read]
    assert got == [(data, name, dict(headers or {})) for data, name, headers in records]


def test_a_batch_of_plain_bytes_has_no_label_table_and_no_index() -> None:
    data = batch.encode_batch(CLIENT_ID, [(b"one", None, None), (b"two", None, {})])
    assert len(data) == batch.HEAD_BYTES + len(CLIENT) + 2 * 4 + len(b"onetwo")


def test_a_label_is_written_once_however_many_records_share_it() -> None:
    records: list[tuple[Data, str | None, Mapping[str, str] | None]] = [
        (f"token {n}", "delta", {"id": "m1", "kind": "text"}) for n in range(50)
    ]
    data = batch.encode_batch(CLIENT_ID, records)
    assert data.count(b"delta") == 1
    assert {record.name for record in batch.read_records(batch.stamp(data, 1, 1))} == {"delta"}


def test_the_stamp_changes_the_place_and_nothing_else() -> None:
    stamped = batch.stamp(BATCH, 7, 8)
    assert stamped[:8] == BATCH[:8] and stamped[24:] == BATCH[24:]
    assert stamped[8:24] == (7).to_bytes(8, "little") + (8).to_bytes(8, "little")


def test_spans_give_each_batch_of_a_run_its_place() -> None:
    two = batch.encode_batch(CLIENT_ID, [("a", None, None), ("b", None, None)])
    run = batch.stamp(two, 5, 100) + batch.stamp(BATCH, 7, 200)
    assert list(batch.spans(run)) == [(0, len(two), 5, 100, 2), (len(two), len(run), 7, 200, 1)]
    assert [span.last for span in batch.spans(run)] == [6, 7]
    assert list(batch.spans(run, len(two))) == [(len(two), len(run), 7, 200, 1)]
    assert list(batch.spans(b"")) == []


def test_the_largest_batches_are_accepted() -> None:
    most = batch.encode_batch(CLIENT_ID, [(b"", None, None)] * limits.BATCH_RECORDS_MAX)
    assert batch.check_batch(most, CLIENT) == limits.BATCH_RECORDS_MAX
    room = limits.BATCH_BYTES_MAX - batch.HEAD_BYTES - len(CLIENT) - 4
    longest = batch.encode_batch(CLIENT_ID, [(bytes(room), None, None)])
    assert len(longest) == limits.BATCH_BYTES_MAX and batch.check_batch(longest, CLIENT) == 1


def test_a_batch_where_every_record_has_a_label_of_its_own() -> None:
    names = [str(n) for n in range(limits.BATCH_LABELS_MAX)]
    data = batch.encode_batch(CLIENT_ID, [(b"", name, None) for name in names])
    assert batch.check_batch(data, CLIENT) == len(names)
    assert [record.name for record in batch.read_records(batch.stamp(data, 1, 1))] == names


# --- what a publisher cannot say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_id", "records"),
    [
        ("agent", []),
        ("agent", [(b"", None, None)] * (limits.BATCH_RECORDS_MAX + 1)),
        ("agent", [(bytes(limits.BATCH_BYTES_MAX), None, None)]),
        ("agent", [(b"", "n" * 256, None)]),
        ("agent", [(b"", "é" * 128, None)]),
        ("agent", [(b"", None, {str(n): "" for n in range(65)})]),
        ("agent", [(b"", None, {"count": 1})]),
        ("c" * 256, [(b"", None, None)]),
    ],
    ids=["nothing", "too many", "too long", "name", "name in bytes", "headers", "header type", "client id"],
)
def test_what_breaks_a_limit_is_refused_where_it_is_made(
    client_id: str, records: list[tuple[Data, str | None, Mapping[str, str] | None]]
) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.encode_batch(client_id, records)
    assert caught.value.code is ErrorCode.BAD_BATCH


# --- batches that are wrong -------------------------------------------------------------------------------


def test_every_changed_byte_is_noticed() -> None:
    data = batch.encode_batch(
        CLIENT_ID, [("hi", "greeting", {"lang": "en"}), (b"\1\2", None, None), ({"a": 1}, "greeting", None)]
    )
    for place in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[place] ^= flip
            with pytest.raises(ProtocolError):
                batch.check_batch(bytes(changed), CLIENT)


def test_every_cut_and_every_extra_byte_is_noticed() -> None:
    for end in range(len(BATCH)):
        refused(BATCH[:end])
    refused(BATCH + b"\0")


def test_a_changed_checksum_or_body_is_a_bad_checksum() -> None:
    for place in (4, 24, 28, 36, len(BATCH) - 1):
        changed = bytearray(BATCH)
        changed[place] ^= 1
        refused(bytes(changed), ErrorCode.BAD_CHECKSUM)


@pytest.mark.parametrize("place", [8, 15, 16, 23])
def test_only_the_broker_stamps(place: int) -> None:
    refused(with_bytes(BATCH, place, b"\1"))


def test_the_reserved_field_must_be_zero() -> None:
    refused(with_bytes(BATCH, 26, b"\1"))


def test_an_unknown_kind_is_named() -> None:
    assert refused(with_bytes(BATCH, 24, b"\7"), ErrorCode.UNSUPPORTED_KIND).detail == {"kind": 7}


@pytest.mark.parametrize("client", [b"", b"agen", b"agent2", b"other"])
def test_nobody_publishes_in_the_name_of_another(client: bytes) -> None:
    refused(batch.assemble(client, b"", 1, b"\0\0\0\0"), ErrorCode.CLIENT_MISMATCH)


def test_a_client_length_beyond_the_batch_is_refused() -> None:
    bare = batch.assemble(CLIENT, b"", 1, b"")
    refused(with_bytes(bare, 25, b"\xff"))


@pytest.mark.parametrize("count", [0, 2, 65_536, 2**32 - 1])
def test_a_count_that_the_bytes_do_not_hold_is_refused(count: int) -> None:
    refused(one_record(count=count))


def test_more_records_than_allowed_are_refused_although_the_bytes_hold_them() -> None:
    count = limits.BATCH_RECORDS_MAX + 1
    refused(batch.assemble(CLIENT, b"", count, bytes(4 * count)))


@pytest.mark.parametrize("length", [0, 1, 3, 2**32 - 1])
def test_lengths_must_add_up(length: int) -> None:
    refused(one_record(rest=length.to_bytes(4, "little") + b"hi"))


def test_labels_longer_than_the_batch_are_refused() -> None:
    refused(with_bytes(BATCH, 32, b"\xff\xff\xff\xff"))


@pytest.mark.parametrize(
    "labels",
    [
        b"\xc1",
        b"\x91",
        table([[0]]) + b"\0",
        table([]),
        table({}),
        table(None),
        table("text"),
        table([0]),
        table([[]]),
        table([[0, "a", {}, 1]]),
        table([[3]]),
        table([[-1]]),
        table([[True]]),
        table([["0"]]),
        table([[0, 1]]),
        table([[0, b"name"]]),
        table([[0, "a", []]]),
        table([[0, "a", {"k": 1}]]),
        table([[0, "a", {b"k": "v"}]]),
        table([[0, "a", {1: "v"}]]),
        table([[0, "n" * 256]]),
        table([[0, "a", {str(n): "v" for n in range(65)}]]),
        table([[0, "a", {"k": [[[[["v"]]]]]}]]),
        b"\x91\x92\x00\xa2\xff\xff",
        b"\x91\x91\xd4\x01\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\x92\x00\xdb\xff\xff\xff\xff",
        b"\xdc",
        b"\x91" * 5_000,
    ],
    ids=lambda labels: labels[:12].hex(),
)
def test_bad_label_tables_are_refused(labels: bytes) -> None:
    refused(one_record(labels))


@pytest.mark.parametrize(
    "labels",
    [
        table([[0]]),
        table([[2, None]]),
        table([[1, ""]]),
        table([[1, None, {"k": "v"}]]),
        table([[0, "n" * 255, {str(n): "v" for n in range(64)}]]),
        b"\xdc\x00\x01\x91\x00",
        b"\xdd\x00\x00\x00\x01\x91\x00",
    ],
    ids=lambda labels: labels[:12].hex(),
)
def test_unusual_label_tables_are_accepted(labels: bytes) -> None:
    assert batch.check_batch(one_record(labels), CLIENT) == 1


@pytest.mark.parametrize(("index", "good"), [(0, True), (1, True), (2, False), (65_535, False)])
def test_a_record_refers_to_a_label_that_is_there(index: int, good: bool) -> None:
    data = one_record(table([[0], [1]]), rest=b"\2\0\0\0" + index.to_bytes(2, "little") + b"hi")
    if good:
        assert batch.check_batch(data, CLIENT) == 1
    else:
        refused(data)


def test_a_batch_too_long_to_be_delivered_in_a_page_is_refused() -> None:
    body = bytes(limits.BATCH_BYTES_MAX)
    covered = batch.HEAD.pack(0, 0, 0, 0, 0, len(CLIENT), 0, 1, 0)[24:] + CLIENT
    covered += len(body).to_bytes(4, "little") + body
    refused(batch.STAMP.pack(24 + len(covered), crc32(covered), 0, 0) + covered)


# --- reading what a store or a broker hands out -----------------------------------------------------------


def unreadable(run: bytes) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        batch.read_records(run)
    return caught.value.code


def test_a_reader_notices_a_change_that_the_checksum_covers() -> None:
    stamped = bytearray(batch.stamp(BATCH, 1, 1))
    stamped[-1] ^= 1
    assert unreadable(bytes(stamped)) is ErrorCode.BAD_CHECKSUM


@pytest.mark.parametrize("length", [0, 1, 23, 35, len(BATCH) - 1, len(BATCH) + 1, 2**32 - 1])
def test_a_reader_stops_at_a_length_that_cannot_be(length: int) -> None:
    broken = length.to_bytes(4, "little") + BATCH[4:]
    assert unreadable(broken) in {ErrorCode.BAD_BATCH, ErrorCode.BAD_CHECKSUM}


def test_a_reader_stops_at_a_page_of_zeros() -> None:
    assert unreadable(batch.stamp(BATCH, 1, 1) + bytes(4_096)) is ErrorCode.BAD_BATCH


def test_a_reader_notices_a_run_that_was_cut() -> None:
    run = batch.stamp(BATCH, 1, 1) * 2
    for end in range(len(BATCH) + 1, len(run)):
        assert unreadable(run[:end]) is ErrorCode.BAD_BATCH


@pytest.mark.parametrize(
    "data",
    [
        one_record(count=0, rest=b""),
        one_record(count=5),
        one_record(rest=b"\x09\0\0\0hi"),
        one_record(table([[0], [1]]), rest=b"\2\0\0\0\7\0hi"),
        one_record(b"\xc1"),
        with_bytes(one_record(), 25, b"\xff"),
    ],
    ids=["nothing", "count", "lengths", "index", "labels", "client"],
)
def test_a_reader_refuses_what_a_broker_should_never_have_taken(data: bytes) -> None:
    assert unreadable(batch.stamp(data, 1, 1)) is ErrorCode.BAD_BATCH


def test_a_reader_survives_a_client_id_that_is_not_utf8() -> None:
    data = batch.stamp(batch.assemble(b"\xff", b"", 1, b"\0\0\0\0"), 1, 1)
    assert batch.read_records(data)[0].client_id == "\ufffd"


# --- memory -----------------------------------------------------------------------------------------------


def bytes_used(labels: list[bytes]) -> int:
    """The most memory in use at once while these tables are read."""
    tracemalloc.start()
    try:
        for packed in labels:
            try:
                batch.read_labels(packed)
            except ProtocolError:
                continue
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_arrays_that_claim_much_and_hold_nothing_cost_nothing() -> None:
    assert bytes_used([b"\xdc\xff\xff" * 1_000]) < 500_000
    assert bytes_used([b"\x91" + b"\xdd\x00\x00\xff\xff" * 1_000]) < 500_000


def test_large_label_tables_are_not_kept() -> None:
    tables = [table([[0, f"{kind} {n}"] for n in range(500)]) for kind in range(50)]
    bytes_used(tables[:1])
    assert bytes_used(tables) < 1_000_000


def test_json_is_compact() -> None:
    _, raw = batch.encode_data({"a": [1, 2]})
    assert raw == json.dumps({"a": [1, 2]}, separators=(",", ":")).encode()


def labelled(count: int) -> bytes:
    """A batch with so many different labels."""
    return batch.encode_labelled(CLIENT_ID, [((0, f"name-{at}", ()), b"") for at in range(count)])


def test_a_batch_has_so_many_labels_and_no_more() -> None:
    most = limits.BATCH_LABELS_MAX
    assert batch.check_batch(labelled(most), CLIENT) == most
    for count in (most + 1, 50_000):
        error = refused(labelled(count), ErrorCode.LIMIT_EXCEEDED)
        assert error.detail == {"limit": "batch_labels", "value": most}


def test_what_was_stored_before_there_was_a_bound_is_read() -> None:
    assert len(batch.read_records(batch.stamp(labelled(5_000), 1, 1))) == 5_000


def test_a_long_table_that_is_none_is_refused_as_that() -> None:
    refused(batch.assemble(CLIENT, b"\xdd\x7f\0\0\0" + b"x" * 2_000, 1, b"\0\0\0\0"))
    refused(batch.assemble(CLIENT, b"\xc0" * 2_000, 1, b"\0\0\0\0"))
