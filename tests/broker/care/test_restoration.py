from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack
import outlast
import pytest
from outlast_broker.care.backup import back_up
from outlast_broker.care.restoration import LEAP, NotRestored, restore
from outlast_broker.care.verification import verify
from outlast_broker.claiming import CLAIM_ROW
from outlast_broker.folder import DataFolder, FolderInUse
from outlast_broker.lease import LEASE_ROW, TOKEN_ROW, read_lease, read_token
from outlast_broker.lmdb_file import FORMAT, U64, WrongFormat, unsealed

from tests.broker.store import put, values
from tests.support.broker import running_broker
from tests.support.chance import FACTOR, chance
from tests.support.full_store import contents
from tests.support.ownership import as_root_in_a_folder_of_another

NOW_MS = 1_800_000_000_000


@pytest.fixture
def backup(full: Path, tmp_path: Path) -> Path:
    return back_up(full, tmp_path / "b", NOW_MS, verified=False).path


def told_by_a_broker(folder: Path) -> dict[str, Any]:
    with running_broker(folder) as broker:
        return asyncio.run(contents(f"outlast+unix://{broker.path}"))


def epochs(folder: Path) -> dict[str, int]:
    async def ask(url: str) -> dict[str, int]:
        async with outlast.connect(url) as client:
            return {row.name: row.epoch async for row in client.channels()}

    with running_broker(folder) as broker:
        return asyncio.run(ask(f"outlast+unix://{broker.path}"))


def rows(folder: Path, kind: bytes) -> list[tuple[bytes, bytes]]:
    found = [(key[U64.size :], unsealed(key, value)) for key, value in values(folder, "rows")]
    return [(name, value) for name, value in found if name.startswith(kind)]


def test_a_restored_store_holds_what_the_backup_held(full: Path, backup: Path, tmp_path: Path) -> None:
    restored = restore(backup, tmp_path / "r", NOW_MS)
    assert restored.verdict.is_whole and restored.aside is None
    assert told_by_a_broker(tmp_path / "r") == told_by_a_broker(full)


def test_what_root_restores_is_its_folders_owners(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r").mkdir()
    given = as_root_in_a_folder_of_another(tmp_path / "r", monkeypatch)
    restore(backup, tmp_path / "r", NOW_MS)
    assert {"data.mdb", "broker.lock"} <= set(given)


def test_readers_who_are_ahead_are_told_recreated(full: Path, backup: Path, tmp_path: Path) -> None:
    restore(backup, tmp_path / "new", NOW_MS)
    restore(backup, tmp_path / "same", NOW_MS, keep_epochs=True)
    before, renewed = epochs(full), epochs(tmp_path / "new")
    assert epochs(tmp_path / "same") == before
    assert before.keys() == renewed.keys() and not set(before.values()) & set(renewed.values())

    async def resume(url: str) -> outlast.Resync:
        async with outlast.connect(url) as client:
            position = f"{before['log']:016x}:5000"
            async with client.channel("log").subscribe(after=position) as reader:
                with pytest.raises(outlast.Resync) as told:
                    await anext(reader)
                return told.value

    with running_broker(tmp_path / "new") as broker:
        told = asyncio.run(resume(f"outlast+unix://{broker.path}"))
    assert told.reason == "recreated"


def test_no_token_and_no_number_is_given_twice(full: Path, backup: Path, tmp_path: Path) -> None:
    restore(backup, tmp_path / "r", NOW_MS)
    [(key, old_lease)], [(_, new_lease)] = rows(full, LEASE_ROW), rows(tmp_path / "r", LEASE_ROW)
    [(_, old_token)], [(_, new_token)] = rows(full, TOKEN_ROW), rows(tmp_path / "r", TOKEN_ROW)
    held, renewed = read_lease(key, old_lease, 0)[1], read_lease(key, new_lease, 0)[1]
    assert renewed == held._replace(token=held.token + LEAP)
    assert read_token(new_token) == read_token(old_token) + 2 * LEAP > renewed.token
    old, new = dict(rows(full, CLAIM_ROW)), dict(rows(tmp_path / "r", CLAIM_ROW))
    assert msgpack.unpackb(new[CLAIM_ROW]) == [msgpack.unpackb(old[CLAIM_ROW])[0] + 2 * LEAP]
    assert msgpack.unpackb(new[CLAIM_ROW + b"begun"])[1] == msgpack.unpackb(old[CLAIM_ROW + b"begun"])[1] + LEAP
    assert new[CLAIM_ROW + b"done"] == old[CLAIM_ROW + b"done"]
    [number, renumbered] = [unsealed(b"next", dict(values(each, "store"))[b"next"]) for each in (full, tmp_path / "r")]
    assert U64.unpack(renumbered)[0] == U64.unpack(number)[0] + LEAP


def test_what_is_sent_again_is_stored_once(tmp_path: Path) -> None:
    with running_broker(tmp_path / "data") as broker:
        author = broker.client("author", producer=(7, 1))
        author.publish(author.open("room").number, "x", sequence=5)
    backup = back_up(tmp_path / "data", tmp_path / "b", NOW_MS).path
    restore(backup, tmp_path / "r", NOW_MS)
    with running_broker(tmp_path / "r") as broker:
        author = broker.client("author", producer=(7, 1))
        assert author.publish(author.open("room").number, "x", sequence=5) == (1, True)


def test_a_damaged_backup_changes_nothing(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes().replace(b"a word that nothing", b"a word that nothinG"))
    restored = restore(backup, tmp_path / "r", NOW_MS)
    assert not restored.verdict.is_whole and not (tmp_path / "r").exists()


def test_a_store_that_is_there_is_kept(full: Path, backup: Path) -> None:
    was = (full / "data.mdb").read_bytes()
    with pytest.raises(NotRestored, match="holds a store already: give --data another folder, or --force"):
        restore(backup, full, NOW_MS)
    assert (full / "data.mdb").read_bytes() == was
    restored = restore(backup, full, NOW_MS, replace=True)
    assert restored.aside is not None and restored.aside.read_bytes() == was
    assert not (full / "lock.mdb").exists() and not list(full.glob(".*.part"))


def test_not_under_a_broker(full: Path, backup: Path) -> None:
    home = DataFolder(full)
    try:
        with pytest.raises(FolderInUse):
            restore(backup, full, NOW_MS, replace=True)
    finally:
        home.release()


def test_a_folder_of_backups_is_not_a_backup(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(NotRestored, match=f"the newest is {backup}"):
        restore(backup.parent, tmp_path / "r", NOW_MS)


def test_a_newer_format_is_refused(full: Path, backup: Path, tmp_path: Path) -> None:
    put(full, "store", b"format", U64.pack(FORMAT + 1))
    with pytest.raises(WrongFormat, match=f"format {FORMAT + 1}"):
        restore(full / "data.mdb", tmp_path / "r", NOW_MS)
    assert not (tmp_path / "r").exists()


def test_a_failure_on_the_way_leaves_the_store_that_is_there(
    full: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = (full / "data.mdb").read_bytes()
    monkeypatch.setattr("outlast_broker.care.restoration.put_in_place", _fail)
    with pytest.raises(OSError, match="the disk is full"):
        restore(backup, full, NOW_MS, replace=True)
    assert (full / "data.mdb").read_bytes() == was and not list(full.glob(".*.part"))


def _fail(*_: object) -> None:
    raise OSError("the disk is full")


def test_a_kill_at_any_moment_leaves_no_half_store(backup: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from outlast_broker.care.restoration import restore;"
        "print('begun', flush=True); restore(Path(sys.argv[1]), Path(sys.argv[2]), 0, replace=True)"
    )
    command = [sys.executable, "-c", program]
    with chance("restore") as rng:
        for _ in range(4 * FACTOR):
            with subprocess.Popen([*command, str(backup), str(tmp_path / "r")], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None and process.stdout.readline() == b"begun\n"
                timer = threading.Timer(rng.random() * 0.6, process.kill)
                timer.start()
                process.wait()
                timer.cancel()
            assert not (tmp_path / "r" / "data.mdb").exists() or verify(tmp_path / "r").is_whole
    restore(backup, tmp_path / "r", NOW_MS, replace=True)
    assert verify(tmp_path / "r").is_whole and not list((tmp_path / "r").glob(".*.part"))
