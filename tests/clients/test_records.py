"""What users get: data as it was, times with a zone, positions that can be stored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from outlast.records import Ack, Retention, from_store, info_from, retention_from, summary_from
from outlast_protocol import Encoding, Position, Record as StoredRecord

EPOCH = 0x00C0FFEE00C0FFEE
HEADERS = {"k": "v"}
ROW = {"channel": "c", "epoch": EPOCH, "first": 3, "last": 9, "bytes": 100, "last_ms": 8}


def read(encoding: int, data: bytes) -> object:
    return from_store([StoredRecord(7, 1_700_000_000_123, "writer", "token", HEADERS, encoding, data)], EPOCH)[0].data


@pytest.mark.parametrize(
    ("encoding", "data", "expected"),
    [
        (Encoding.BYTES, b"\xff", b"\xff"),
        (Encoding.TEXT, "grün".encode(), "grün"),
        (Encoding.TEXT, b"a\xffb", "a\ufffdb"),
        (Encoding.JSON, b'{"a":[1,null]}', {"a": [1, None]}),
        (Encoding.JSON, b"{", b"{"),
        (Encoding.JSON, b"\xff", b"\xff"),
        (Encoding.JSON, b"[" * 100_000, b"[" * 100_000),
    ],
    ids=range(7),
)
def test_data_arrives_as_what_it_was_and_never_fails(encoding: int, data: bytes, expected: object) -> None:
    assert read(encoding, data) == expected


def test_records_know_their_place_and_time() -> None:
    record = from_store([StoredRecord(7, 1_700_000_000_123, "writer", "token", HEADERS, 0, b"")], EPOCH)[0]
    assert str(record.position) == "00c0ffee00c0ffee:7"
    assert record.time == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    assert (record.name, record.client_id, record.headers, record.ttl_ms) == ("token", "writer", HEADERS, 0)
    mortal = from_store([StoredRecord(7, 0, "writer", None, HEADERS, 0, b"", ttl_ms=5)], EPOCH)[0]
    assert mortal.ttl_ms == 5


def test_headers_that_records_share_cannot_be_changed() -> None:
    record = from_store([StoredRecord(7, 0, "writer", None, HEADERS, 0, b"")], EPOCH)[0]
    with pytest.raises(TypeError):
        record.headers["k"] = "other"  # type: ignore[index]


def test_the_ack_of_several() -> None:
    ack = Ack(offset=5, records=3, epoch=EPOCH, duplicate=False)
    assert list(ack.offsets) == [5, 6, 7]
    assert ack.position == Position(EPOCH, 7)


def test_the_ack_of_a_duplicate_from_too_long_ago() -> None:
    ack = Ack(offset=0, records=3, epoch=EPOCH, duplicate=True)
    assert (list(ack.offsets), ack.position) == ([], Position(EPOCH, 0))


def test_descriptions() -> None:
    retention = {"age_ms": 0, "records": 5, "bytes": None, "idle_ttl_ms": 7}
    info = info_from(ROW | {"created_ms": 1, "subscribers": 2, "number": 9, "retention": retention})
    assert (info.name, info.first, info.last, info.bytes, info.last_ms) == ("c", 3, 9, 100, 8)
    assert (info.created_ms, info.subscribers, info.position) == (1, 2, Position(EPOCH, 9))
    assert info.retention == Retention(0, 5, None, 7) == retention_from(retention)
    assert summary_from(ROW | {"of_a_later_version": 1}).position == Position(EPOCH, 9)
