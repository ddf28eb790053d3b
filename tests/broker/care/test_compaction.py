"""A store that is compacted, by whomever, holds what it held; and a kill in the middle costs nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from outlast_broker.care.backup import back_up
from outlast_broker.care.compaction import compact
from outlast_broker.care.verification import verify
from outlast_broker.folder import DataFolder, FolderInUse, NoRoom
from outlast_broker.lmdb_file import COPY_FOLDER, StoreFile, WrongFormat
from outlast_protocol.frames import Compact, Delete

from tests.support.broker import PATIENCE_S, running_broker
from tests.support.chance import FACTOR, chance
from tests.support.full_store import SECRET, contents
from tests.support.home import home
from tests.support.ledger import read_channel
from tests.support.ownership import as_root_in_a_folder_of_another


def told_by_a_broker(folder: Path) -> object:
    with running_broker(folder) as broker:
        return asyncio.run(contents(f"outlast+unix://{broker.path}"))


def test_what_root_compacts_is_its_folders_owners(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = as_root_in_a_folder_of_another(full, monkeypatch)
    StoreFile(full).close()
    before = len(given)
    compact(full)
    assert given[-4:] == ["data.mdb", "lock.mdb", "opening.lock", "broker.lock"] and len(given) > before + 4


def test_a_stopped_store_keeps_everything(full: Path) -> None:
    before = told_by_a_broker(full)
    compacted = compact(full)
    assert compacted.before_bytes > compacted.after_bytes
    assert compacted.before_bytes > (full / "data.mdb").stat().st_size
    assert not (full / COPY_FOLDER).exists() and verify(full).is_whole
    assert told_by_a_broker(full) == before


def test_what_was_deleted_before_is_not_in_the_file_any_more(full: Path) -> None:
    with running_broker(full) as broker:
        broker.client().result(Delete(1, "secret:xylophonics"))
    assert SECRET.encode() in (full / "data.mdb").read_bytes()
    compact(full)
    assert b"xylophonics" not in (full / "data.mdb").read_bytes()


def test_a_store_in_use_or_none_is_refused(full: Path, tmp_path: Path) -> None:
    home = DataFolder(full)
    try:
        with pytest.raises(FolderInUse):
            compact(full)
    finally:
        home.release()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        compact(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "empty" / "data.mdb").write_bytes(bytes(10_000))
    with pytest.raises(WrongFormat):
        compact(tmp_path / "empty")


def test_without_room_nothing_changes(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast_broker.folder.free_bytes", lambda path: 1)
    with pytest.raises(NoRoom):
        compact(full)
    assert verify(full).is_whole


def test_a_disk_that_fills_up_meanwhile_leaves_the_store(full: Path) -> None:
    """The process may not write files larger than this."""
    limited = (
        "import resource, signal, sys; from pathlib import Path; from outlast_broker.care.compaction import compact;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        "compact(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", limited, str(full)], capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    verdict = verify(full)
    assert verdict.is_whole and verdict.records == 164


def test_under_load_nothing_is_lost_and_readers_in_other_processes_keep_what_they_see(tmp_path: Path) -> None:
    with home(tmp_path, journal_bytes=20_000, journal_age_ms=5, disk_reserve_bytes=0) as place:
        broker = place.start()
        author, operator = broker.client("author"), broker.client("operator")
        number = author.open("room").number
        acked, over = [0], threading.Event()

        def publish() -> None:
            while not over.is_set():
                acked[0] = author.publish(number, b"%d" % (acked[0] + 1))[0]

        writing = threading.Thread(target=publish)
        writing.start()
        try:
            with StoreFile(place.data) as store, store.view() as view:
                seen = list(view.items("chunks"))
                for request in range(1, 6):
                    assert operator.result(Compact(request))["after_bytes"] > 0
                assert list(view.items("chunks")) == seen
                made = back_up(place.data, tmp_path / "b", 0)
                assert made.verdict is not None and made.verdict.is_whole
        finally:
            over.set()
            writing.join()
        records = read_channel(broker.client("auditor"), "room").records
        assert [each.data for each in records.values()] == [b"%d" % n for n in range(1, acked[0] + 1)]
        assert verify(place.data).is_whole


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with (
        home(tmp_path, journal_bytes=50_000, journal_age_ms=5, disk_reserve_bytes=0) as place,
        chance("compact") as rng,
    ):
        acked = 0
        for _ in range(4 * FACTOR):
            broker = place.start()
            author, operator = broker.client("author"), broker.client("operator")
            number = author.open("room").number
            operator.send(Compact(1))
            timer = threading.Timer(rng.random() * 0.15, os.kill, (place.pid, signal.SIGKILL))
            timer.start()
            try:
                while True:
                    acked = author.publish(number, b"x" * 1_000)[0]
                    operator.send(Compact(2))
            except (EOFError, ConnectionError):
                timer.join()
            broker.process.wait(PATIENCE_S)
            assert verify(place.data).is_whole
        records = read_channel(place.start().client("auditor"), "room").records
        assert list(records) == list(range(1, len(records) + 1)) and len(records) >= acked
        assert not (place.data / COPY_FOLDER).exists()
