"""The JavaScript client is built, its types are checked, and its tests run, against brokers of this checkout.

Without Node these fail, and say what to install: a client that nobody tried is not known to work.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT

CLIENT = ROOT / "clients" / "js"
SETUP = ROOT / "scripts" / "setup_js.sh"
BUILD_TIMEOUT_S = 180
TESTS_TIMEOUT_S = 300


def run(*command: str, timeout_s: int = BUILD_TIMEOUT_S) -> str:
    """What a command prints; a failure shows all of it."""
    environment = {**os.environ, "OUTLAST_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=CLIENT, env=environment, timeout=timeout_s, text=True, capture_output=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed in clients/js:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    run("sh", str(SETUP))
    run("npm", "run", "--silent", "build")


def test_its_types_are_right() -> None:
    run("npm", "run", "--silent", "check")


def test_its_own_tests_pass() -> None:
    said = run("npm", "test", "--silent", timeout_s=TESTS_TIMEOUT_S)
    assert "\n# fail 0\n" in said and "\n# skipped 0\n" in said, said[-2_000:]


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((CLIENT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages and not any("resolved" in package for package in packages.values())


def test_it_has_no_dependency() -> None:
    package = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package and "peerDependencies" not in package


def test_without_node_setup_says_what_is_missing(tmp_path: Path) -> None:
    for tool in ("dirname", "sh"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [tmp_path / "sh", SETUP], env={"PATH": str(tmp_path)}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 1 and "needs Node 20 or newer" in done.stderr
