from __future__ import annotations

import pytest
from outlast_broker.patterns import check_pattern, patterns_for


def test_what_a_channel_falls_under() -> None:
    assert set(patterns_for("a:b:c")) == {"a:b:c", "*", "a:*", "a:b:*"}
    assert set(patterns_for("a")) == {"a", "*"}
    assert "a:*" in patterns_for("a:"), "an empty segment is one"


@pytest.mark.parametrize("pattern", ["*", "a", "a:*", "a:b:*", "a:b", "ä:*"])
def test_patterns(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "a*", "*a", "a:*:b", "a:**", "**", "*:*", "x" * 256])
def test_what_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"last segment is \*, as session:42:\*"):
        check_pattern(pattern)
