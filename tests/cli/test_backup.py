from __future__ import annotations

from pathlib import Path

from . import shell


def test_a_backup_of_a_running_broker_by_its_options(url: str, data: Path, tmp_path: Path) -> None:
    shell.fill(url, "backed-up", 100)
    for _ in range(2):
        done = shell.run("backup", str(tmp_path / "b"), "--data", str(data), "--keep", "1", "--compact")
        assert done.code == 0 and "copied and verified" in done.err, done.err
        [path] = done.lines
        assert Path(path).stat().st_size > 0
    assert "1 older backup removed" in done.err
    assert len(list((tmp_path / "b").iterdir())) == 1
    done = shell.run("backup", str(tmp_path / "b"), "--no-verify", OUTLAST_DATA=str(data))
    assert done.code == 0 and done.err.endswith("copied\n")


def test_where_there_is_no_store(tmp_path: Path) -> None:
    done = shell.run("backup", str(tmp_path / "b"), "--data", str(tmp_path / "nowhere"))
    assert (done.code, done.out) == (69, "") and "nowhere" in done.err
