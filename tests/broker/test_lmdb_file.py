from __future__ import annotations

import fcntl
import os
from pathlib import Path

import lmdb
import pytest
from outlast_broker.damage import Damaged
from outlast_broker.folder import LOCK_FILE as BROKER_LOCK
from outlast_broker.lmdb_file import (
    DATA_FILE,
    DATABASES,
    LOCK_FILE,
    OPENING_FILE,
    StoreFile,
    WrongFormat,
    editing,
    opening_lock,
    sealed,
    structure_faults,
    unsealed,
)
from outlast_broker.lmdb_log import LmdbLog

from tests.broker.logs import batch, commit, create, move, with_chunks
from tests.broker.store import raw
from tests.support.ownership import as_root_in_a_folder_of_another

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = LmdbLog(tmp_path, 64 * MIB)
    with_chunks(log, "a", 3)
    log.close()
    return tmp_path


def test_a_small_value_is_sealed_with_its_key() -> None:
    stored = sealed(b"key", b"value")
    assert unsealed(b"key", stored) == b"value"
    for key, damaged in ((b"kez", stored), (b"key", stored[:-1]), (b"key", b"")):
        with pytest.raises(Damaged, match="fails its checksum"):
            unsealed(key, damaged)


def test_a_view_gives_entries_in_order(folder: Path) -> None:
    with StoreFile(folder) as store, store.view() as view:
        keys = [key for key, _ in view.items("chunks")]
        assert keys == sorted(keys) and len(keys) == 4
        assert [key for key, _ in view.items("chunks", keys[2])] == keys[2:]
        assert view.get("chunks", keys[0]) and view.get("chunks", b"nothing") is None
        before = view.before("chunks", keys[1])
        assert before is not None and before[0] == keys[0] and view.before("chunks", keys[0]) is None
        last = view.before("chunks", b"\xff" * 16)
        assert last is not None and last[0] == keys[-1]


def test_its_extent(folder: Path) -> None:
    with StoreFile(folder) as store:
        extent = store.extent()
    assert extent.entries["chunks"] == 4 and list(extent.entries) == list(DATABASES)
    assert 0 < extent.used_bytes < extent.file_bytes == (folder / "data.mdb").stat().st_size


def test_reading_beside_does_not_change_the_file(folder: Path) -> None:
    before = (folder / "data.mdb").read_bytes()
    with StoreFile(folder) as store:
        assert store.readers() == [] and store.drop_dead_readers() == 0
        with store.view():
            [slot] = store.readers()
    assert slot.pid == os.getpid() and slot.transaction is not None
    assert (folder / "data.mdb").read_bytes() == before


def test_a_copy_is_a_store(folder: Path, tmp_path: Path) -> None:
    for compact in (True, False):
        copy = tmp_path / f"copy-{compact}"
        with StoreFile(folder) as store, copy.open("wb") as target:
            store.copy_to(target.fileno(), compact)
        with StoreFile(copy) as store, store.view() as view:
            assert len(list(view.items("chunks"))) == 4
        assert not copy.with_name(f"{copy.name}-lock").exists()


@pytest.mark.parametrize("data", [b"", b"no database", bytes(20_000)])
def test_what_is_no_store_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(data)
    with pytest.raises(WrongFormat):
        StoreFile(tmp_path)
    assert structure_faults(tmp_path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        txn.put(b"a", b"b")
    with pytest.raises(WrongFormat, match="not Outlast's"):
        StoreFile(tmp_path)


def test_an_empty_environment_holds_no_store(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path)).close()
    with pytest.raises(WrongFormat, match="no broker ever ran on it"):
        StoreFile(tmp_path)


def test_what_root_makes_belongs_to_the_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / BROKER_LOCK).touch()
    given = as_root_in_a_folder_of_another(folder, monkeypatch)
    StoreFile(folder).close()
    assert given == [DATA_FILE, LOCK_FILE, OPENING_FILE, BROKER_LOCK]


def test_nobody_opens_it_while_somebody_has_it_alone(folder: Path) -> None:
    with opening_lock(folder, alone=True), (folder / OPENING_FILE).open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    StoreFile(folder).close()


def test_an_edit_is_whole_or_nothing(folder: Path) -> None:
    file = folder / "data.mdb"
    with pytest.raises(ZeroDivisionError), editing(file) as edit:
        edit.put("due", b"x" * 16, b"")
        raise ZeroDivisionError
    with editing(file) as edit:
        assert edit.view.get("due", b"x" * 16) is None
        for index in range(5):
            edit.put("due", b"%016d" % index, b"")
        slices = list(edit.slices("due", count=2))
    assert [len(each) for each in slices] == [2, 2, 1]
    with raw(folder, "due") as txn:
        assert txn.stat()["entries"] == 5


def test_memory_that_was_used_before_does_not_get_into_the_file(tmp_path: Path) -> None:
    """LMDB writes whole pages: what a value leaves of its last one is cleared."""
    secret = b"xylophonics"
    log = LmdbLog(tmp_path, 64 * MIB)
    number = create(log, "a")
    junk = [bytes(bytearray(secret * 2_000)) for _ in range(50)]
    del junk
    for offset in range(1, 20):
        commit(log, move(number, batch(offset, "y" * 6_000)))
    log.close()
    assert secret not in (tmp_path / "data.mdb").read_bytes()
