"""The JavaScript client is built, its types are checked, and its tests run, against brokers of this checkout.

Without Node these fail, and say what to install: a client that nobody tried is not known to work.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.node import CLIENT, SCRIPTS, build_client, run, run_tests


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build_client()


def test_its_types_are_right() -> None:
    run(CLIENT, "npm", "run", "--silent", "check")


def test_its_own_tests_pass() -> None:
    run_tests(CLIENT, "npm", "test", "--silent")


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
        [tmp_path / "sh", SCRIPTS / "setup_js.sh"],
        env={"PATH": str(tmp_path)}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "needs Node 20 or newer" in done.stderr
