from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from outlast_broker.config import Config
from outlast_broker.configuration.options import BY_NAME, MEMORY, OF_A_RULE, OPTIONS, RULES, values_of, with_values
from outlast_broker.retention import Retention
from outlast_broker.rules import Rule


def leaves(group: Any) -> int:
    """How many fields there are, groups counted by theirs."""
    values = [getattr(group, field.name) for field in fields(group)]
    return sum(leaves(value) if is_dataclass(value) else 1 for value in values)


def test_every_field_is_an_option() -> None:
    assert len(OPTIONS) == leaves(Config()) - len([RULES]) + len([MEMORY])
    assert len(OF_A_RULE) == len(fields(Rule))


def test_no_two_have_one_name() -> None:
    assert len(BY_NAME) == len(OPTIONS)


def test_names_follow_from_fields() -> None:
    option = BY_NAME["fold_after"]
    assert (option.flag, option.variable, option.in_file) == ("--fold-after", "OUTLAST_FOLD_AFTER", "fold_after")
    assert BY_NAME["retain_age"].path == ("retention", "age_ms")


def test_everything_says_what_it_is_for() -> None:
    assert [option.name for option in OPTIONS + OF_A_RULE if not option.details.text.endswith((".", "..."))] == []


def test_a_rule_bounds_all_that_retention_can() -> None:
    assert {option.path[-1] for option in OF_A_RULE} == {"channels", *Retention.__dataclass_fields__}
    for option in OF_A_RULE[1:]:
        assert BY_NAME[option.key].path == ("retention", option.path[-1])


def test_values_are_put_in_their_place() -> None:
    config = with_values(Config(), {"retain_records": 5, "drain_time": 7, "data": Path("x"), RULES: (Rule("a"),)})
    assert (config.retention.records, config.drain_ms, config.data, config.rules) == (5, 7, Path("x"), (Rule("a"),))
    assert with_values(config, {"data": Path("x"), "memory": True}).data is None
    assert with_values(config, {"memory": False}) == config


def test_values_are_found_again() -> None:
    values = {option.name: value for option, value in values_of(with_values(Config(), {"memory": True}))}
    assert values["memory"] is True and values["drain_time"] == Config().drain_ms
    assert list(values) == list(BY_NAME)


def test_secrets_are_not_shown() -> None:
    option = BY_NAME["log_level"]
    secret = option._replace(details=option.details._replace(secret=True))
    assert (option.shown("info"), secret.shown("info"), secret.shown("")) == ("info", "(secret)", "")
