from __future__ import annotations

from pathlib import Path

from tests.support.broker import running_broker

from . import shell


def test_there_and_back(url: str, data: Path, tmp_path: Path) -> None:
    shell.fill(url, "restored", 100)
    [backup] = shell.run("backup", str(tmp_path / "b"), "--data", str(data)).lines
    folder = tmp_path / "data"
    done = shell.run("restore", backup, "--data", str(folder))
    assert done.code == 0 and f"start a broker with --data {folder}" in done.err, done.err
    again = shell.run("restore", backup, "--data", str(folder))
    assert again.code == 1 and "--force" in again.err
    forced = shell.run("restore", backup, "--data", str(folder), "--force", "--keep-epochs")
    assert forced.code == 0 and "before-restore-" in forced.err
    with running_broker(folder) as broker:
        lines = shell.run("history", "restored", url=f"outlast+unix://{broker.path}").lines
    assert len(lines) == 100


def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    (tmp_path / "backup.mdb").write_bytes(b"x" * 9_000)
    done = shell.run("restore", str(tmp_path / "backup.mdb"), "--data", str(tmp_path / "data"))
    assert done.code == 65 and not (tmp_path / "data").exists()


def test_not_where_a_broker_runs(url: str, data: Path, tmp_path: Path) -> None:
    [backup] = shell.run("backup", str(tmp_path / "b"), "--data", str(data)).lines
    done = shell.run("restore", backup, "--data", str(data), "--force")
    assert done.code == 73 and "in use by another Outlast broker" in done.err
