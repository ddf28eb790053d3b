from __future__ import annotations

import random
from pathlib import Path

import pytest
from outlast_broker.care.verification import verify
from outlast_broker.folder import DataFolder
from outlast_broker.lmdb_file import WrongFormat, structure_faults

from tests.broker.store import flipped, put, values


def test_a_whole_store_is_whole_and_tells_how_far_it_is(full: Path) -> None:
    told: list[tuple[int, int]] = []
    verdict = verify(full, lambda done, of: told.append((done, of)))
    assert (verdict.is_whole, verdict.faults, verdict.channels, verdict.records) == (True, [], 8, 164)
    assert told == sorted(told) and 0 < told[-1][0] <= told[-1][1]


def test_damaged_records_are_told(full: Path) -> None:
    key, value = values(full, "journal")[-1]
    put(full, "journal", key, flipped(value, len(value) - 1))
    verdict = verify(full)
    assert not verdict.is_whole and "record 5 of channel 'state'" in verdict.faults[0]


def test_no_flipped_byte_ends_the_process_and_none_of_a_record_is_missed(full: Path) -> None:
    """Anywhere in the file. What is found is damage; the rest lies in pages, or parts of pages, that nothing uses."""
    file = full / "data.mdb"
    whole = file.read_bytes()
    rng = random.Random(7)
    used = [value for name in ("chunks", "journal") for _, value in values(full, name)]
    for value in rng.sample(used, 4):
        bad = flipped(value, rng.randrange(len(value)), rng.randrange(8))
        file.write_bytes(whole.replace(value, bad))
        assert not verify(full).is_whole
    for at in [*rng.sample(range(len(whole)), 3), 17, 4096 + 17]:
        file.write_bytes(flipped(whole, at, rng.randrange(8)))
        try:
            verify(full)
        except WrongFormat as error:
            assert "first pages" in str(error)


def test_a_page_that_leads_nowhere_is_found_without_c_code(full: Path) -> None:
    file = full / "data.mdb"
    file.write_bytes(file.read_bytes()[: 4 * 4096])
    assert structure_faults(full)
    verdict = verify(full)
    assert not verdict.is_whole and len(verdict.faults) <= verdict.fault_count


@pytest.mark.parametrize("data", [b"", b"x" * 10_000, bytes(10_000)])
def test_what_is_no_store_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "backup").write_bytes(data)
    assert not verify(tmp_path / "backup").is_whole
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nowhere")


def test_a_store_that_is_in_use_is_read_as_it_is(full: Path) -> None:
    """Its pages change: they are not judged; what lies in them is."""
    file = full / "data.mdb"
    file.write_bytes(file.read_bytes() + b"x")
    home = DataFolder(full)
    try:
        assert verify(full).is_whole
    finally:
        home.release()
