"""The wheel and the sdist: the same bytes each time, and in them what belongs there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOMES = [ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
# A moment in the past: what is built says it of itself, whenever it is built.
EPOCH = "1700000000"
# Run with the wheel in front of all else: the client must do without what the broker's extra brings.
THIN = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aiohttp", "click", "joserfc", "lmdb", "pydantic", "uvloop"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
sys.path.insert(0, sys.argv[1])
import outlast, outlast_cli
assert outlast.__file__.startswith(sys.argv[1]), outlast.__file__
sys.exit(outlast_cli.main())
"""


def ours(folder: Path) -> list[str]:
    """The files below a folder that belong to the project, whether they are committed yet or not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (folder / name).is_file()]


def build(source: Path, into: Path) -> dict[str, bytes]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(into)]
    done = subprocess.run(command, cwd=source, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in into.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("built")
    build(ROOT, into)
    return into


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("*.whl")
    return path


def test_built_twice_they_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """The second time in another folder, from files that were touched later."""
    source = tmp_path / "another place"
    for name in ours(ROOT):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
        (source / name).chmod((ROOT / name).stat().st_mode)
    again = build(source, tmp_path / "again")
    assert len(again) == 2
    for name, data in again.items():
        assert data == (built / name).read_bytes(), f"{name} differs"


def test_the_wheel_holds_the_libraries_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {home.name for home in HOMES}


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.name)
def test_the_wheel_holds_all_of_each_library(wheel: Path, home: Path) -> None:
    wanted = {f"{home.name}/{name}" for name in ours(home)}
    with zipfile.ZipFile(wheel) as archive:
        assert wanted and wanted <= set(archive.namelist())


def test_the_client_needs_nothing_of_the_broker(wheel: Path) -> None:
    done = subprocess.run([sys.executable, "-c", THIN, str(wheel)], text=True, capture_output=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("outlast needs the broker's packages"), done.stderr


def test_the_sdist_can_be_tested_and_built_from(built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "Makefile",
        "README.md",
        "protocol/PROTOCOL.md",
        "protocol/vectors/frames.json",
        "tests/test_tidy.py",
    } <= names
