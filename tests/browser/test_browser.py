"""The browser tests run: pages of this checkout in a real Chromium, against brokers of this checkout.

Without Chromium or Node these fail, and say what to install: a page that nobody opened is not known to work.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.support.node import SCRIPTS, build_client, run, run_tests
from tests.support.tree import ROOT

HERE = Path(__file__).parent


def test_what_people_do_in_a_browser() -> None:
    build_client()
    run(HERE, "sh", str(SCRIPTS / "setup_browser.sh"))
    run_tests(HERE, "node", "run.js")


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages and not any("resolved" in package for package in packages.values())


def test_without_chromium_setup_says_what_is_missing(tmp_path: Path) -> None:
    for tool in ("cmp", "dirname", "id", "node", "npm", "sh"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [tmp_path / "sh", SCRIPTS / "setup_browser.sh"],
        env={"PATH": str(tmp_path)}, text=True, capture_output=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1 and "sudo apt-get install chromium" in done.stderr, done.stderr
