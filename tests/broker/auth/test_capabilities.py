"""Patterns and verbs, beside ten lines that say the same and take their time."""

from __future__ import annotations

import random

import pytest
from outlast_broker.auth.capabilities import (
    ALL_VERBS,
    CHANNEL_VERBS,
    EVERYTHING,
    NOTHING,
    Capabilities,
    Verb,
    names_of,
    read_capabilities,
)
from outlast_broker.patterns import check_pattern

from tests.support.chance import SEED

PUBLISH, HISTORY = int(Verb.PUBLISH), int(Verb.HISTORY)
PAIRS = 1_000_000
NAMES_EACH = 500


def reference(grants: dict[str, int], name: str) -> int:
    """The rule as docs/security.md states it."""
    found, segments = 0, name.split(":")
    for pattern, verbs in grants.items():
        wanted = pattern.split(":")
        if wanted[-1] == "*":
            matches = len(segments) >= len(wanted) and segments[: len(wanted) - 1] == wanted[:-1]
        else:
            matches = segments == wanted
        found |= verbs if matches else 0
    return found


def test_a_million_random_pairs_are_judged_as_by_the_reference() -> None:
    """Of few letters, so that patterns and names often nearly fit."""
    chance = random.Random(SEED)
    segments = ["", "a", "b", "ab", "A", "ä", "4", "42", "%3A", "session"]
    some_names = [":".join(chance.choices(segments, k=chance.randint(1, 4))) for _ in range(20 * NAMES_EACH)]
    names = [name for name in some_names if name]
    differences = 0
    for _ in range(PAIRS // NAMES_EACH):
        grants: dict[str, int] = {}
        for _ in range(chance.randint(0, 4)):
            pattern = ":".join([*chance.choices(segments, k=chance.randint(0, 3)), chance.choice([*segments, "*"])])
            grants[pattern or "a"] = chance.randint(0, CHANNEL_VERBS)
        capabilities = Capabilities(grants)
        differences += sum(
            capabilities.verbs(name) != reference(grants, name) for name in chance.choices(names, k=NAMES_EACH)
        )
    assert differences == 0, f"OUTLAST_SEED={SEED} shows it again"


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("session:42", ["session:42"], ["session:42:a", "session:421", "session:4", "Session:42", "session:42:"]),
        (
            "session:42:*",
            ["session:42:a", "session:42:a:b", "session:42:", "session:42:*"],
            ["session:42", "session:421:a"],
        ),
        ("session:*", ["session:", "session:a"], ["session", "sessions:a", "SESSION:a", "session%3Aa"]),
        ("*", ["a", "a:b", ":", "*"], []),
        (":*", [":", ":a"], ["a", "a:b"]),
        ("é:*", ["é:a"], ["e\u0301:a", "e:a"]),
    ],
)
def test_what_a_pattern_is_for(pattern: str, inside: list[str], outside: list[str]) -> None:
    capabilities = Capabilities({pattern: PUBLISH})
    assert {name: capabilities.verbs(name) for name in inside} == dict.fromkeys(inside, PUBLISH)
    assert {name: capabilities.verbs(name) for name in outside} == dict.fromkeys(outside, 0)


@pytest.mark.parametrize(
    "pattern", ["", "**", "a*", "*a", "a:*:b", "*:a", "a:**", "a:b*", "a\n:*", "a:\x7f", "x" * 256, "\ud800"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(pattern)
    with pytest.raises(ValueError):
        read_capabilities({pattern: ["publish"]})


def test_rights_add_up() -> None:
    capabilities = read_capabilities({"*": ["subscribe"], "a:*": ["history"], "a:b": ["publish", "publish"], "c": []})
    assert names_of(capabilities.verbs("a:b")) == ["publish", "subscribe", "history"]
    assert names_of(capabilities.verbs("a:c")) == ["subscribe", "history"]
    assert names_of(capabilities.everywhere) == ["subscribe"]
    assert (EVERYTHING.verbs("x"), NOTHING.verbs("x"), NOTHING.everywhere) == (CHANNEL_VERBS, 0, 0)
    assert EVERYTHING.everywhere == ALL_VERBS


@pytest.mark.parametrize(
    "said", [None, [], "publish", {"a": "publish"}, {"a": ["PUBLISH"]}, {"a": ["*"]}, {"a": [1]}, {1: []}, {"a": None}]
)
def test_what_says_no_capabilities(said: object) -> None:
    with pytest.raises(ValueError):
        read_capabilities(said)


def test_metrics_is_about_the_broker_and_no_channel() -> None:
    monitor = read_capabilities({"*": ["metrics"]})
    assert (names_of(monitor.everywhere), monitor.verbs("a"), monitor.beginnings("")) == (["metrics"], 0, ([], []))
    both = read_capabilities({"*": ["metrics"], "a:*": ["publish"]})
    assert (both.verbs("a:b"), both.verbs("b"), both.beginnings("")) == (PUBLISH, 0, ([], ["a:"]))
    for pattern in ("a", "a:*"):
        with pytest.raises(ValueError, match=r"metrics is about the whole broker: grant it on \*"):
            read_capabilities({pattern: ["publish", "metrics"]})


def test_where_to_look_for_channels_that_may_be_seen() -> None:
    grants = {"a": HISTORY, "a:*": HISTORY, "a:b:*": HISTORY, "ab:*": HISTORY, "b:x": HISTORY, "c:*": 0, "d": 0}
    capabilities = Capabilities(grants)
    assert capabilities.beginnings("") == (["a", "b:x"], ["a:", "ab:"])
    assert capabilities.beginnings("a:") == ([], ["a:"])
    assert capabilities.beginnings("a:b:c") == ([], ["a:b:c"])
    assert capabilities.beginnings("b") == (["b:x"], [])
    assert capabilities.beginnings("c") == ([], [])
    assert EVERYTHING.beginnings("a") == ([], ["a"])
