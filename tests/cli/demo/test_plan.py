from __future__ import annotations

import pytest
from outlast_cli.demo.plan import BROKER, VIEWERS, make_plan


@pytest.mark.parametrize("seconds", [5, 8, 60, 600])
@pytest.mark.parametrize("seed", range(5))
def test_plans(seconds: float, seed: int) -> None:
    plan = make_plan(seconds, seed)
    ends = [act.at_s + act.hold_s for act in plan]
    assert all(end < following.at_s for end, following in zip(ends, plan[1:], strict=False))
    assert ends[-1] < seconds * 0.9
    deeds = {(act.deed, act.target == BROKER) for act in plan}
    assert deeds == {("cut", False), ("stop", False), ("kill", False), ("kill", True)}
    assert {act.target for act in plan} == {BROKER, *VIEWERS}


def test_the_seed_decides() -> None:
    assert make_plan(60, 1) == make_plan(60, 1) != make_plan(60, 2)


def test_a_minute_breaks_everything_several_times() -> None:
    targets = [act.target for act in make_plan(60, 1)]
    assert all(targets.count(target) >= 2 for target in (BROKER, *VIEWERS))
