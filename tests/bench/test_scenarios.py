"""Every scenario says what it measures, and a short run of the first one loses nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from bench.__main__ import run_one
from bench.plan import Plan
from bench.scenarios import SCENARIOS
from bench.systems.outlast import Outlast


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_states_what_it_measures(scenario: ModuleType) -> None:
    lines = (scenario.__doc__ or "").splitlines()
    heads = [line.partition(":")[0] for line in lines if line.startswith(("Measures: ", "Good: ", "Near: "))]
    assert heads == ["Measures", "Good", "Near"]
    assert scenario.CASES


@pytest.mark.parametrize("case", SCENARIOS["sessions"].CASES)
def test_sessions_lose_nothing(case: str, tmp_path: Path) -> None:
    plan = Plan(tmp_path, seconds=0.2, warmup_s=0.1, scale=0.02)
    result = run_one(plan, tmp_path / "data", Outlast(), SCENARIOS["sessions"], case)
    assert result.get("failed") is None
    assert result["sent"] == result["acked"] == result["delivered"] > 0
    assert result["complete"]
    assert result["server_us_per_message"] > 0
