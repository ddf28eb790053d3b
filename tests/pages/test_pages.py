"""The pages that are committed are those that clients/web makes, their types are right, and their own tests pass."""

from __future__ import annotations

import json

import pytest

from tests.support.node import SCRIPTS, run, run_tests
from tests.support.tree import ROOT

PAGES = ROOT / "clients" / "web"


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    run(PAGES, "sh", str(SCRIPTS / "setup_js.sh"), "clients/web")


def test_types_are_right_and_what_is_committed_is_what_is_built() -> None:
    run(PAGES, "npm", "run", "--silent", "check")


def test_their_own_tests_pass() -> None:
    run_tests(PAGES, "npm", "test", "--silent")


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((PAGES / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages and not any("resolved" in package for package in packages.values())
