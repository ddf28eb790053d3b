from __future__ import annotations

from outlast_broker.channel import Channel
from outlast_broker.head import Head
from outlast_broker.retention import Retention
from outlast_broker.rules import Rule, Rules

ALL = Retention(records=100, age_ms=5)


def test_without_rules_all_channels_are_alike() -> None:
    assert Rules(ALL, ()).named("a") is ALL


def test_the_first_that_fits_counts() -> None:
    rules = Rules(
        ALL, [Rule("a:b:*", records=1), Rule("a:*", records=2), Rule("a:b:c", records=3), Rule("x", age_ms=0)]
    )
    assert [rules.named(name).records for name in ("a:b:c", "a:c", "a:b", "a", "b")] == [1, 2, 2, 100, 100]
    assert rules.named("x") == Retention(records=100), "0 is no bound, and not what holds for all"


def test_of_two_for_one_pattern_the_first_counts() -> None:
    assert Rules(ALL, [Rule("a", records=1), Rule("a", records=2)]).named("a").records == 1


def test_what_a_rule_leaves_out_is_as_for_all() -> None:
    assert Rules(ALL, [Rule("*", records=1)]).named("a") == Retention(records=1, age_ms=5)


def test_a_channels_own_bounds_count_before_them() -> None:
    channel = Channel(1, Head("a", 1, 0, retention={"records": 7}))
    assert Rules(ALL, [Rule("*", records=1, bytes=2)]).of(channel) == Retention(records=7, age_ms=5, bytes=2)
    assert Rules(ALL, ()).of(channel) == Retention(records=7, age_ms=5)


def test_whether_anything_is_bounded() -> None:
    assert Rules(ALL, ()).bounded
    assert Rules(Retention(), [Rule("a", idle_ttl_ms=1)]).bounded
    assert not Rules(Retention(), [Rule("a", idle_ttl_ms=0)]).bounded
