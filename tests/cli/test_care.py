from __future__ import annotations

import sys
from pathlib import Path

import lmdb
import pytest
from outlast_broker.care.verification import Verdict
from outlast_broker.folder import FolderInUse, NoRoom
from outlast_broker.lmdb_file import WrongFormat
from outlast_cli.care import progress, tell_faults, told_apart
from outlast_cli.exits import Exit, Failure


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (WrongFormat("newer"), Exit.DAMAGED, "newer"),
        (FolderInUse("used"), Exit.IN_USE, "used"),
        (NoRoom("2 bytes"), Exit.STORE_FAILED, "2 bytes: free some"),
        (FileNotFoundError(2, "no", "gone"), Exit.UNAVAILABLE, "gone is not there"),
        (PermissionError(13, "no", "shut"), Exit.UNAVAILABLE, "shut may not be opened: run this as the user"),
        (PermissionError(), Exit.UNAVAILABLE, "folder may not be opened"),
        (OSError(28, "No space left on device"), Exit.STORE_FAILED, "No space left"),
        (lmdb.Error("bad"), Exit.STORE_FAILED, "bad: check the disk"),
    ],
)
def test_what_goes_wrong_is_told_apart(error: Exception, code: Exit, text: str) -> None:
    with pytest.raises(Failure, match=text) as failure, told_apart(Path("folder")):
        raise error
    assert failure.value.code == code


def test_progress_is_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress("going") as tell:
        tell(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("going") as tell:
        tell(1 << 20, 2 << 20)
        tell(1 << 20, 2 << 20)
        tell(0, 0)
    said = capsys.readouterr().err
    assert said.count("outlast: going 1.0 MiB of 2.0 MiB (50 %)") == 1
    assert said.endswith("\r") and said.split("\r")[-2].strip() == ""


def test_faults_are_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    tell_faults(Path("folder"), Verdict(["one", "two"], 5))
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == ["outlast: DAMAGED one", "outlast: DAMAGED two", "outlast: ... and 3 more"]
