"""What the hand will do, and when. Pure: the same seconds and seed give the same plan."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

Deed = Literal["cut", "stop", "kill"]
BROKER = "broker"
AGENT = "agent"
PAGE = "page"
VIEWERS = ("viewer A", "viewer B")
# Everything can be broken, so each of these happens at least once, however short the demo.
_DEEDS: tuple[tuple[Deed, str], ...] = (
    ("cut", VIEWERS[0]),
    ("kill", BROKER),
    ("stop", VIEWERS[1]),
    ("kill", VIEWERS[0]),
    ("cut", VIEWERS[1]),
    ("kill", BROKER),
    ("stop", VIEWERS[0]),
    ("kill", VIEWERS[1]),
)
_DEEDS_MIN = 4
_SECONDS_PER_DEED = 6
_HOLD_S_MAX = 3.0


class Act(NamedTuple):
    """At `at_s` the hand does `deed` to `target`, and undoes it `hold_s` later."""

    at_s: float
    deed: Deed
    target: str
    hold_s: float


def make_plan(seconds: float, seed: int) -> list[Act]:
    """Acts that do not overlap, all of them over well before the end."""
    chance = random.Random(seed)
    count = max(_DEEDS_MIN, round(seconds / _SECONDS_PER_DEED))
    first_s, slot_s = seconds * 0.08, seconds * 0.75 / count
    acts = []
    for index in range(count):
        deed, target = _DEEDS[index % len(_DEEDS)]
        hold_s = min(slot_s * chance.uniform(0.3, 0.5), _HOLD_S_MAX)
        acts.append(Act(first_s + index * slot_s + slot_s * chance.uniform(0, 0.15), deed, target, hold_s))
    return acts
