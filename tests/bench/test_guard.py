"""The counted costs of a message are what they were when they were last looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench import guard

HOME = Path(__file__).parents[2]
COUNTS = {"instructions": 100.0, "socket writes": 0.25}


def test_counted_costs_are_those_of_the_baseline() -> None:
    """In a process of its own: under the tests' debug mode the event loop counts for more."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-m", "bench.guard"]
    ran = subprocess.run(command, cwd=HOME, env=plain, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr


def test_what_grows_or_shrinks_beyond_the_margin_is_said() -> None:
    small, large = 1 - 2 * guard.MARGIN, 1 + 2 * guard.MARGIN
    assert "grew" in guard.compare({"a message": COUNTS}, {"a message": COUNTS | {"instructions": 100 * large}})[0]
    assert "shrank" in guard.compare({"a message": COUNTS}, {"a message": COUNTS | {"instructions": 100 * small}})[0]
    assert (
        guard.compare({"a message": COUNTS}, {"a message": COUNTS | {"instructions": 100 * (1 + guard.MARGIN / 2)}})
        == []
    )


def test_a_version_without_a_baseline_is_held_to_what_all_versions_share() -> None:
    baselines = {"3.9": {"a message": {"instructions": 1.0}}, "3.11": {"a message": COUNTS}}
    assert guard.baseline_for("3.11", baselines) == {"a message": COUNTS}
    assert guard.baseline_for("3.99", baselines) == {"a message": {"socket writes": 0.25}}
