"""What a scan says of stores in which something does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from outlast_broker import head
from outlast_broker.care import scan as scan_module
from outlast_broker.care.scan import FAULTS_TOLD, Scan
from outlast_broker.lmdb_file import DATABASES, HEAD_MARK, PAIR, U64, StoreFile, sealed, unsealed

from tests.broker.store import flipped, raw, values


def faults(folder: Path) -> list[str]:
    with StoreFile(folder) as store:
        scan = Scan(store)
        for _ in scan.run():
            pass
    assert scan.fault_count >= len(scan.faults)
    return scan.faults


def number_of(folder: Path, name: str) -> int:
    [number] = [unsealed(key, value) for key, value in values(folder, "names") if key == name.encode()]
    return int(U64.unpack(number)[0])


def chunk_keys(folder: Path, name: str) -> list[bytes]:
    number = number_of(folder, name)
    keys = [key for key, _ in values(folder, "chunks") if PAIR.unpack(key)[0] == number]
    return keys[:-1]


def delete(folder: Path, database: str, key: bytes) -> None:
    with raw(folder, database) as txn:
        assert txn.delete(key)


def change_head(folder: Path, name: str, change: Callable[[head.Head], head.Head]) -> None:
    key = PAIR.pack(number_of(folder, name), HEAD_MARK)
    with raw(folder, "chunks") as txn:
        stored = head.decode(unsealed(key, bytes(txn.get(key, b""))))
        txn.put(key, sealed(key, change(stored).encode()))


def test_a_whole_store_has_no_faults(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StoreFile(full) as store:
        scan = Scan(store)
        assert sum(scan.run()) > 30_000
    assert (scan.faults, scan.channels, scan.records) == ([], 8, 164)
    monkeypatch.setattr(scan_module, "SLICE_BYTES", 1)
    assert faults(full) == []


def test_a_damaged_record_is_named_by_channel_and_offset(full: Path) -> None:
    key = next(iter(chunk_keys(full, "secret:xylophonics")))
    with raw(full, "chunks") as txn:
        value = bytes(txn.get(key, b""))
        txn.put(key, flipped(value, len(value) // 2))
    [fault] = faults(full)
    assert fault.startswith("channel 'secret:xylophonics': damaged: record 1 to 60 (")


def test_damage_in_the_journal_names_the_record(full: Path) -> None:
    key, value = values(full, "journal")[0]
    with raw(full, "journal") as txn:
        txn.put(key, flipped(value, len(value) - 2))
    assert "fails its checksum: record 83 of channel 'log'" in faults(full)[0]


@pytest.mark.parametrize("database", DATABASES)
def test_every_byte_of_every_entry_counts(full: Path, database: str) -> None:
    """Whatever is flipped in a value is a fault, and none makes the scan itself fail."""
    entries = [(key, value) for key, value in values(full, database) if value and key != b"format"]
    for key, value in entries[:: max(len(entries) // 8, 1)]:
        for at in {0, 3, 4, len(value) // 2, len(value) - 1} & set(range(len(value))):
            with raw(full, database) as txn:
                txn.put(key, flipped(value, at, bit=at % 8))
            assert faults(full), (database, key, at)
        with raw(full, database) as txn:
            txn.put(key, value)
    assert faults(full) == []


def test_missing_chunks_are_holes(full: Path) -> None:
    delete(full, "chunks", chunk_keys(full, "log")[1])
    assert "channel 'log': records 21 to 40 are missing" in faults(full)


def test_missing_beginnings_and_ends_are_told(full: Path) -> None:
    first, *_, last = chunk_keys(full, "log")
    change_head(full, "log", lambda found: found._replace(first=1))
    delete(full, "chunks", first)
    delete(full, "chunks", last)
    found = faults(full)
    assert "channel 'log': records 1 to 20 are missing" in found
    assert any("its chunks end with offset" in fault for fault in found), found


def test_a_channel_without_records_that_its_head_says_it_has(full: Path) -> None:
    for key in chunk_keys(full, "secret:xylophonics"):
        delete(full, "chunks", key)
    assert "channel 'secret:xylophonics': records 1 to 60 are missing" in faults(full)


def test_a_hole_between_chunks_and_journal(full: Path) -> None:
    journal = values(full, "journal")
    delete(full, "journal", journal[0][0])
    change_head(full, "log", lambda found: found._replace(next=found.next - 1))
    assert any("its chunks end with offset" in fault for fault in faults(full))


def test_names_and_heads_must_lead_to_each_other(full: Path) -> None:
    change_head(full, "log", lambda found: found._replace(name="other"))
    found = faults(full)
    assert any("channel 'log' has no head under its number" in fault for fault in found)
    assert any("channel 'other' has a head under number" in fault for fault in found)


def test_a_number_that_was_not_given(full: Path) -> None:
    with raw(full, "store") as txn:
        txn.put(b"next", sealed(b"next", U64.pack(2)))
    assert any("which was not given yet" in fault for fault in faults(full))


def test_records_without_a_head(full: Path) -> None:
    number = number_of(full, "log")
    delete(full, "chunks", PAIR.pack(number, HEAD_MARK))
    assert f"channel number {number} has records and no head" in faults(full)
    with raw(full, "doomed") as txn:
        txn.put(U64.pack(number), b"")
    assert f"channel number {number} has records and no head" not in faults(full)


def test_what_time_will_change_belongs_to_a_channel(full: Path) -> None:
    with raw(full, "due") as txn:
        txn.put(PAIR.pack(1, 999_999), b"")
    assert faults(full) == ["channel number 999999 is to be looked at some time and has no head"]


def test_many_faults_are_counted(full: Path) -> None:
    with raw(full, "due") as txn:
        for number in range(1_000, 1_000 + 2 * FAULTS_TOLD):
            txn.put(PAIR.pack(1, number), b"")
    with StoreFile(full) as store:
        scan = Scan(store)
        list(scan.run())
    assert (len(scan.faults), scan.fault_count) == (FAULTS_TOLD, 2 * FAULTS_TOLD)
