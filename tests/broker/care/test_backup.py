from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from outlast_broker.care.backup import back_up, backups, remove_remains
from outlast_broker.care.verification import verify
from outlast_broker.folder import NoRoom
from outlast_broker.lmdb_file import StoreFile

from tests.broker.store import flipped, put, values
from tests.support.broker import PATIENCE_S
from tests.support.home import home

NOW_MS = 1_800_000_000_123


def contents(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    with StoreFile(path) as store, store.view() as view:
        return {name: list(view.items(name)) for name in store.extent().entries}


@pytest.mark.parametrize("compact", [False, True])
def test_a_backup_holds_what_the_store_holds(full: Path, tmp_path: Path, compact: bool) -> None:
    told: list[int] = []
    made = back_up(full, tmp_path / "b", NOW_MS, compact=compact, told=lambda done, of: told.append(done))
    assert made.path == tmp_path / "b" / "outlast-20270115T080000.123Z.mdb"
    assert made.verdict is not None and made.verdict.is_whole and made.path.stat().st_size == made.bytes
    assert contents(made.path) == contents(full) and max(told) <= made.bytes
    assert list((tmp_path / "b").iterdir()) == [made.path]
    assert made.path.stat().st_mode & 0o777 == 0o600


def test_backups_under_load_hold_all_that_was_acknowledged_and_no_hole(tmp_path: Path) -> None:
    with home(tmp_path, journal_bytes=20_000, journal_age_ms=5) as place:
        author = place.start().client("author")
        number = author.open("room").number
        acked, over = [0], threading.Event()

        def publish() -> None:
            while not over.is_set():
                acked[0] = author.publish(number, b"x" * 1_000)[0]

        writing = threading.Thread(target=publish)
        writing.start()
        try:
            for index in range(3):
                before = acked[0]
                made = back_up(place.data, tmp_path / "b", NOW_MS + index, compact=index == 1)
                assert made.verdict is not None and made.verdict.is_whole, made.verdict
                assert before <= made.verdict.records <= acked[0] + 1
        finally:
            over.set()
            writing.join()


def test_compact_leaves_out_free_space(full: Path, tmp_path: Path) -> None:
    sizes = [back_up(full, tmp_path / str(each), 0, compact=each).bytes for each in (True, False)]
    assert sizes[0] < sizes[1] == (full / "data.mdb").stat().st_size


def test_the_oldest_go_when_there_are_more_than_are_kept(full: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.mdb").touch()
    made = [back_up(full, tmp_path / "b", NOW_MS + day, keep=2, verified=False) for day in range(4)]
    assert backups(tmp_path / "b") == [each.path for each in made[2:]]
    assert made[3].removed == [made[1].path] and made[3].verdict is None
    assert (tmp_path / "b" / "other.mdb").exists()


def test_a_damaged_store_gives_no_backup_and_costs_none(full: Path, tmp_path: Path) -> None:
    kept = back_up(full, tmp_path / "b", NOW_MS)
    key, value = values(full, "journal")[0]
    put(full, "journal", key, flipped(value, 30))
    made = back_up(full, tmp_path / "b", NOW_MS + 1, keep=1)
    assert made.verdict is not None and not made.verdict.is_whole
    assert list((tmp_path / "b").iterdir()) == [kept.path]


def test_a_full_disk_is_seen_before_and_leaves_nothing(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*status[:4], 1, *status[5:10])))
    with pytest.raises(NoRoom, match="bytes of free disk"):
        back_up(full, tmp_path / "b", NOW_MS)
    assert list((tmp_path / "b").iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(full: Path, tmp_path: Path) -> None:
    """The process may not write files larger than this: the write fails as on a full disk."""
    limited = (
        "import resource, signal, sys; from pathlib import Path; from outlast_broker.care.backup import back_up;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        "back_up(Path(sys.argv[1]), Path(sys.argv[2]), 0, compact=sys.argv[3] == 'True')"
    )
    for compact in (False, True):
        command = [sys.executable, "-c", limited, str(full), str(tmp_path / "b"), str(compact)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 1 and "File too large" in done.stderr
        assert list((tmp_path / "b").iterdir()) == []
    assert verify(full).is_whole


def test_a_kill_in_the_middle_leaves_no_backup_and_no_pinned_pages(tmp_path: Path) -> None:
    """What is left of it goes with the next one; the broker lets its place in the table of readers go."""
    with home(tmp_path, journal_bytes=1) as place:
        place.knob("tick_ms", 5)
        author = place.start().client("author")
        number = author.open("room").number
        author.publish(number, b"x" * 400_000)
        stuck = (
            "import sys, time; from pathlib import Path; from outlast_broker.care.backup import back_up\n"
            "def told(done, of):\n    print('copying', flush=True); time.sleep(60)\n"
            "back_up(Path(sys.argv[1]), Path(sys.argv[2]), 0, told=told)"
        )
        command = [sys.executable, "-c", stuck, str(place.data), str(tmp_path / "b")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"copying\n"
            assert author.publish(number, b"y" * 400_000), "the broker commits while the copy stands still"
            process.kill()
        [part] = (tmp_path / "b").iterdir()
        assert part.name.endswith(".part")
        _await_no_reader(place.data, process.pid)
        made = back_up(place.data, tmp_path / "b", NOW_MS)
        assert made.verdict is not None and made.verdict.is_whole and list((tmp_path / "b").iterdir()) == [made.path]


def _await_no_reader(folder: Path, pid: int) -> None:
    with StoreFile(folder) as store:
        for _ in range(int(PATIENCE_S * 100)):
            if pid not in {slot.pid for slot in store.readers()}:
                return
            select.select([], [], [], 0.01)
    raise AssertionError("the killed reader keeps its place")


def test_what_is_being_made_is_no_remains(tmp_path: Path) -> None:
    with (tmp_path / ".outlast-1.mdb.part").open("xb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        remove_remains(tmp_path)
        assert list(tmp_path.iterdir())
    remove_remains(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failure_of_the_copy_is_raised(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: StoreFile, descriptor: int, compact: bool) -> None:
        assert threading.current_thread() is not threading.main_thread()
        raise OSError("unreadable")

    monkeypatch.setattr(StoreFile, "copy_to", fail)
    with pytest.raises(OSError, match="unreadable"):
        back_up(full, tmp_path / "b", NOW_MS)
    assert list((tmp_path / "b").iterdir()) == []
