from __future__ import annotations

import typing

import pytest
from outlast_broker.metering.counters import COUNTED, Counters
from outlast_protocol import ErrorCode


def test_everything_begins_at_zero_and_says_what_it_is() -> None:
    counters = Counters()
    assert COUNTED.keys() == typing.get_type_hints(Counters).keys(), "a counter has a row in COUNTED and a type"
    assert {getattr(counters, name) for name in COUNTED} == {0}
    assert list(COUNTED) == sorted(COUNTED)
    assert all(text.endswith(".") for text in COUNTED.values())


def test_errors_are_counted_by_their_code_too() -> None:
    counters = Counters()
    counters.refuse(ErrorCode.FENCED)
    counters.refuse(ErrorCode.FENCED)
    assert counters.refused == 2
    assert {code for code, count in counters.errors.items() if count} == {ErrorCode.FENCED}
    assert counters.errors.keys() == set(ErrorCode), "a code that did not happen yet is 0, not absent"


def test_what_is_no_counter_cannot_be_counted() -> None:
    with pytest.raises(AttributeError):
        Counters().typo = 1  # type: ignore[attr-defined]
