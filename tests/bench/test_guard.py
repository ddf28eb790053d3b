"""The counted costs of a message are what they were when they were last looked at."""

from __future__ import annotations

import asyncio
import json

from bench import guard

COUNTS = {"instructions": 100.0, "socket writes": 0.25}


def test_counted_costs_are_those_of_the_baseline() -> None:
    baselines = json.loads(guard.BASELINE.read_text())
    now = asyncio.run(guard.measure())
    assert guard.compare(guard.baseline_for(guard.version(), baselines), now) == []


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
