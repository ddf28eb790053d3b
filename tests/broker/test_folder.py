from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outlast_broker.folder import DataFolder, FolderInUse

HOLDER = """
import sys
from pathlib import Path
from outlast_broker.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that has the folder, until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")
    assert folder.path.is_dir()
    folder.release()


def test_a_second_broker_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\b.*--data another folder"):
        DataFolder(tmp_path)
    folder.release()


def test_being_refused_harms_nobody(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    for _ in range(3):
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            DataFolder(tmp_path)
    folder.release()
    DataFolder(tmp_path).release()


def test_a_released_folder_can_be_taken(tmp_path: Path) -> None:
    DataFolder(tmp_path).release()
    DataFolder(tmp_path).release()


def test_another_process_is_named(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(FolderInUse, match=rf"process {process.pid}\b"):
            DataFolder(tmp_path)
    finally:
        end(process)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    folder = DataFolder(tmp_path)
    with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\b"):
        DataFolder(tmp_path)
    folder.release()


def test_free_space_is_that_of_the_folders_disk(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    status = os.statvfs(tmp_path)
    assert 0 <= folder.free_bytes() <= status.f_blocks * status.f_frsize
    folder.release()
