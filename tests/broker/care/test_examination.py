"""What is wrong with a folder is said with why it matters and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from outlast_broker.care import examination
from outlast_broker.care.examination import SAMPLED, examine, file_system, files_allowed
from outlast_broker.care.finding import Finding, Level
from outlast_broker.folder import DataFolder
from outlast_broker.lmdb_file import FORMAT, U64, Slot, StoreFile

from tests.broker.store import flipped, put, values

RESERVE = 1 << 20


def found(folder: Path, reserve_bytes: int = RESERVE, whole: bool = False) -> dict[str, Finding]:
    """By what they are about, the worst of each."""
    worst: dict[str, Finding] = {}
    for finding in examine(folder, reserve_bytes, whole=whole):
        if finding.level > Level.OK:
            assert finding.what and finding.why and finding.do, finding
        assert (finding.code > 0) == (finding.level is Level.ERROR)
        if finding.about not in worst or finding.level > worst[finding.about].level:
            worst[finding.about] = finding
    return worst


def levels(folder: Path) -> set[Level]:
    return {each.level for each in found(folder).values()}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how much of the disk is free."""
    return lambda free: monkeypatch.setattr(examination, "free_bytes", lambda path: free)


def test_nothing_is_wrong_with_a_store_that_was_left_in_order(full: Path) -> None:
    assert levels(full) == {Level.OK}
    assert "164 records in 8 channels, whole (all of it)" in found(full)["contents"].what
    home = DataFolder(full)
    try:
        assert found(full)["broker"].what == f"process {os.getpid()} has the folder"
    finally:
        home.release()


def test_no_folder_and_no_store(tmp_path: Path) -> None:
    assert found(tmp_path / "nowhere")["data folder"].level is Level.ERROR
    assert found(tmp_path)["store"].level is Level.NOTE
    assert list(tmp_path.iterdir()) == []


def test_who_did_not_stop_by_itself(full: Path) -> None:
    (full / "broker.lock").write_text("4711\n")
    finding = found(full)["broker"]
    assert finding.level is Level.NOTE and "process 4711, did not stop by itself" in finding.what


def test_who_may_not_write(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "data.mdb")
    finding = found(full)["permissions"]
    assert finding.code == 69 and f"{full}/data.mdb may not" in finding.what


def test_file_systems(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nhost:/b {tmp_path} nfs4 rw 0 0\nc {full}x tmpfs rw 0 0\n")
    assert file_system(full, mounts) == "nfs4"
    assert file_system(Path("/"), mounts) == "ext4" and file_system(full, tmp_path / "nowhere") == ""
    for kind, level in (("nfs", Level.ERROR), ("tmpfs", Level.WARNING), ("ext4", Level.OK), ("", Level.OK)):
        monkeypatch.setattr(examination, "file_system", lambda path, kind=kind: kind)
        assert found(full)["file system"].level is level


def test_few_open_files(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = tmp_path / "limits"
    limits.write_text("Limit  Soft  Hard  Units\nMax open files            1024                 4096   files\n")
    assert files_allowed(str(limits)) == 1024 and files_allowed(str(tmp_path / "nowhere")) is None
    limits.write_text("Max open files            unlimited                 unlimited   files\n")
    assert files_allowed(str(limits)) is None
    monkeypatch.setattr(examination, "files_allowed", lambda path: 1024)
    assert "may have 1,024" in found(full)["open files"].what


def test_the_disk(full: Path, roomy: Callable[[int], None]) -> None:
    for free, level in ((RESERVE - 1, Level.ERROR), (RESERVE, Level.WARNING), (RESERVE << 10, Level.OK)):
        roomy(free)
        assert found(full)["disk"].level is level


def test_free_space_in_the_file(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "SLACK_BYTES_MIN", 1)
    extent = StoreFile(full).extent()
    monkeypatch.setattr(StoreFile, "extent", lambda self: extent._replace(file_bytes=3 * extent.used_bytes))
    finding = found(full)["size"]
    assert finding.level is Level.NOTE and finding.do == "outlast compact"


def test_readers_that_were_killed(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoreFile, "readers", lambda self: [Slot(os.getpid(), 7), Slot(2**22 + 1, 3)])
    assert f"process {2**22 + 1} read the store and was killed" in found(full)["readers"].what


def test_another_format(full: Path) -> None:
    put(full, "store", b"format", U64.pack(FORMAT + 1))
    finding = found(full)["store"]
    assert finding.code == 65 and f"format {FORMAT + 1}" in finding.what


def test_damage_and_what_a_sample_leaves_out(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "WHOLE_BYTES_MAX", 0)
    assert found(full)["contents"].what == "not every chunk was read"
    key, value = max(values(full, "chunks"), key=lambda item: len(item[1]))
    put(full, "chunks", key, flipped(value, len(value) // 2))
    assert found(full)["contents"].level is Level.NOTE, f"of {SAMPLED} chunks one is read"
    finding = found(full, whole=True)["contents"]
    assert finding.code == 65 and "1 faults, the first: channel 'log': damaged: record" in finding.what


def test_what_cannot_be_opened(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StoreFile, path: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(StoreFile, "__init__", refuse)
    assert "it cannot be opened: no" in found(full)["store"].what
