from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from outlast_broker.configuration.kinds import kind_of
from outlast_broker.configuration.option import Details

PLAIN = Details("")


@pytest.mark.parametrize(
    ("name", "hint", "given", "value", "shown"),
    [
        ("wait_ms", "int", "1h30m", 5_400_000, "1h30m"),
        ("wait_ms", "int", 0, 0, "0"),
        ("size_bytes", "int", "64MiB", 64 << 20, "64MiB"),
        ("bytes", "int", 1500, 1500, "1500B"),
        ("channels", "int", "12", 12, "12"),
        ("rate", "float", "1.5", 1.5, "1.5"),
        ("on", "bool", "yes", True, "true"),
        ("on", "bool", False, False, "false"),
        ("name", "str", "x y", "x y", "x y"),
        ("file", "Path", "/a/b", Path("/a/b"), "/a/b"),
        ("file", "Path | None", "", None, ""),
        ("wait_ms", "int | None", "2s", 2_000, "2s"),
        ("listen", "tuple[str, ...]", "a  b", ("a", "b"), "a b"),
        ("listen", "tuple[str, ...]", ["a", "b"], ("a", "b"), "a b"),
    ],
)
def test_what_is_read_can_be_shown_and_read_again(name: str, hint: str, given: Any, value: Any, shown: str) -> None:
    kind = kind_of(name, hint, PLAIN)
    assert kind.read(given) == value
    assert kind.show(value) == shown
    assert kind.read(shown) == value
    assert kind.read(tomllib.loads(f"x = {kind.in_file(value)}")["x"]) == value


@pytest.mark.parametrize(
    ("name", "hint", "details", "given", "text"),
    [
        ("wait_ms", "int", PLAIN, 5, "'5' is no duration: allowed are"),
        ("size_bytes", "int", PLAIN, [1], "is no size: allowed is"),
        ("channels", "int", PLAIN, "1.5", "'1.5' is not a whole number"),
        ("channels", "int", PLAIN, True, "True is not a whole number"),
        ("channels", "int", Details("", least=1), 0, "0 is too little: the least is 1"),
        ("on", "bool", PLAIN, "maybe", "'maybe' is neither true nor false"),
        ("name", "str", PLAIN, 5, "5 is no text: put it in quotes"),
        ("listen", "tuple[str, ...]", PLAIN, [1], "1 is no text"),
        ("level", "str", Details("", one_of=("low", "high")), "mid", "'mid' is not one of low, high"),
        ("channels", "int", Details("", check=lambda value: {}[value]), "7", "7"),
    ],
)
def test_what_is_not_allowed(name: str, hint: str, details: Details, given: Any, text: str) -> None:
    with pytest.raises((ValueError, KeyError), match=text):
        kind_of(name, hint, details).read(given)


def test_each_of_several_is_checked() -> None:
    seen: list[str] = []
    assert kind_of("listen", "tuple[str, ...]", Details("", check=seen.append)).read("a b") == ("a", "b")
    assert seen == ["a", "b"]
