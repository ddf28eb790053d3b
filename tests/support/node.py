"""Programs that Node runs: built and tested here as their own tools do it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from .tree import ROOT

SCRIPTS = ROOT / "scripts"
CLIENT = ROOT / "clients" / "js"
BUILD_TIMEOUT_S = 300
TESTS_TIMEOUT_S = 300


def run(folder: Path, *command: str, timeout_s: int = BUILD_TIMEOUT_S) -> str:
    """What a command prints in `folder`; a failure shows all of it."""
    environment = {**os.environ, "OUTLAST_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=timeout_s, text=True, capture_output=True, check=False
    )
    if done.returncode:
        where = folder.relative_to(ROOT)
        pytest.fail(f"{' '.join(command)} failed in {where}:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def run_tests(folder: Path, *command: str) -> None:
    """All pass, and none is skipped."""
    said = run(folder, *command, timeout_s=TESTS_TIMEOUT_S)
    assert "\n# fail 0\n" in said and "\n# skipped 0\n" in said, said[-2_000:]


@cache
def build_client() -> None:
    """dist/ of the JavaScript client is that of this checkout."""
    # A build begins by taking away what others, in other processes, may be using.
    with (CLIENT / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        run(ROOT, "make", "--silent", "clients/js/dist/browser.js")
