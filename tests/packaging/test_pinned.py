"""What the Debian package and the container bring along: pinned, with hashes, and all that the broker needs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.tree import ROOT

PACKAGES = ROOT / "scripts" / "packages"
ADVICE = "run make lock"


def pinned() -> dict[str, Version]:
    text = (PACKAGES / "requirements.txt").read_text(encoding="utf-8")
    rows = re.findall(r"^(\S+)==(\S+) \\\n(?=    --hash=sha256:)", text, re.MULTILINE)
    assert len(rows) == text.count("=="), "each line is NAME==VERSION with hashes"
    return {canonicalize_name(name): Version(version) for name, version in rows}


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["broker"]]]


def needs(requirement: Requirement) -> list[Requirement]:
    """What a package asks for, here and with the extras that are asked of it."""
    extras = requirement.extras or {""}
    return [
        asked
        for asked in map(Requirement, requires(requirement.name) or ())
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_all_that_is_needed_is_pinned_to_what_is_allowed() -> None:
    pins, todo, seen = pinned(), declared(), set[str]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned: {ADVICE}"
        assert pins[name] in requirement.specifier, f"{requirement} is asked for, {pins[name]} pinned: {ADVICE}"
        if str(requirement) not in seen:
            seen.add(str(requirement))
            todo.extend(needs(requirement))


def test_nothing_else_is_pinned() -> None:
    wanted, todo = set[str](), declared()
    while todo:
        requirement = todo.pop()
        if (name := canonicalize_name(requirement.name)) not in wanted:
            wanted.add(name)
            todo.extend(needs(requirement))
    assert set(pinned()) <= wanted, f"nobody needs {sorted(set(pinned()) - wanted)}: {ADVICE}"


def test_the_container_is_described_well() -> None:
    hadolint = Path(get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "Containerfile"], cwd=PACKAGES, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_container_copies_what_is_there() -> None:
    text = (PACKAGES / "Containerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
    assert copied and all((ROOT / path).exists() for path in copied), copied


@pytest.mark.parametrize("script", sorted(PACKAGES.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)
