from __future__ import annotations

from pathlib import Path

from . import shell


def test_a_running_store_is_whole(url: str, data: Path) -> None:
    shell.fill(url, "verified", 50)
    for done in (shell.run("verify", str(data)), shell.run("verify", "--data", str(data))):
        assert (done.code, done.out) == (0, "") and f"{data} is whole: " in done.err


def test_damage_is_named_and_ends_with_65(tmp_path: Path) -> None:
    (tmp_path / "backup.mdb").write_bytes(b"x" * 9_000)
    done = shell.run("verify", str(tmp_path / "backup.mdb"))
    assert done.code == 65 and "DAMAGED not an LMDB data file" in done.err
