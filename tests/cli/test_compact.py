from __future__ import annotations

from pathlib import Path

from . import shell


def test_a_running_broker_and_a_folder_alone(url: str, data: Path, tmp_path: Path) -> None:
    done = shell.call("compact", url=url)
    assert done.code == 0 and "outlast: compacted: " in done.err
    used = shell.run("compact", "--data", str(data))
    assert used.code == 73
    [backup] = shell.run("backup", str(tmp_path / "b"), "--data", str(data)).lines
    shell.run("restore", backup, "--data", str(tmp_path / "data"))
    alone = shell.run("compact", "--data", str(tmp_path / "data"))
    assert alone.code == 0 and "were, " in alone.err, alone.err
    assert shell.run("compact", "--data", str(tmp_path / "nowhere")).code == 69
