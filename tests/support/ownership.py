"""Root at work in a folder that belongs to somebody else, for tests that are not root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SOMEBODY = 12_345


def as_root_in_a_folder_of_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are given to its owner from now on."""
    given: list[str] = []
    real = Path.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        found = real(path, **how)
        return os.stat_result((*found[:4], SOMEBODY, *found[5:])) if path == folder else found

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        assert (path.parent, uid, follow_symlinks) == (folder, SOMEBODY, False)
        given.append(path.name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(Path, "stat", stat)
    return given
