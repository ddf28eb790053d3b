from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from outlast_broker.config import Config
from outlast_broker.configuration.reloading import Reloading, ReloadRefused, differences, with_live
from outlast_broker.retention import Retention
from outlast_broker.rules import Rule

OLD = Config()
NEW = replace(
    OLD, drain_ms=1_000, retention=Retention(records=5), rules=(Rule("a", records=1),), map_bytes=1 << 30,
    data=Path("elsewhere"),
)  # fmt: skip


def test_what_is_live_is_taken_and_the_rest_is_said() -> None:
    reloading = Reloading(OLD, lambda: NEW)
    reloaded = reloading.reload()
    assert reloading.config == replace(NEW, map_bytes=OLD.map_bytes, data=OLD.data)
    assert reloaded.changed == ["retain_records: 0 -> 5", "drain_time: 5s -> 1s", "rules: 0 -> 1"]
    assert reloaded.restart == ["data: outlast-data -> elsewhere", "map_size: 16GiB -> 1GiB"]
    assert reloading.reload() == ([], reloaded.restart), "what is live is there now, what is not has to wait"


def test_parts_take_up_theirs_and_say_so() -> None:
    seen: list[Config] = []

    def prepare(config: Config) -> Callable[[], str]:
        return lambda: str(seen.append(config) or "keys: 3")

    reloading = Reloading(OLD, lambda: OLD)
    reloading.add(prepare)
    reloading.add(lambda config: str)
    assert reloading.reload() == (["keys: 3"], [])
    assert seen == [OLD]


def test_one_that_is_wrong_keeps_all_as_they_were() -> None:
    adopted: list[str] = []

    def wrong(config: Config) -> Callable[[], str]:
        raise OSError("no such certificate")

    reloading = Reloading(OLD, lambda: NEW)
    reloading.add(lambda config: lambda: str(adopted.append("a") or ""))
    reloading.add(wrong)
    with pytest.raises(ReloadRefused, match="no such certificate"):
        reloading.reload()
    assert (reloading.config, adopted) == (OLD, [])


def test_a_configuration_that_is_wrong_changes_nothing() -> None:
    def load() -> Config:
        raise ValueError("there is no option 'drain_tim'")

    reloading = Reloading(OLD, load)
    with pytest.raises(ReloadRefused, match="drain_tim"):
        reloading.reload()
    assert reloading.config is OLD


def test_differences_are_in_words() -> None:
    changed = replace(OLD, rules=(Rule("a"),))
    assert list(differences(changed, replace(OLD, rules=(Rule("b"),)))) == ["rules"]
    assert list(differences(OLD, OLD)) == []
    assert with_live(OLD, NEW).rules == NEW.rules
