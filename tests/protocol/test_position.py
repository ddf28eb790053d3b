from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_protocol import Position
from outlast_protocol.position import EPOCH_MAX, OFFSET_MAX

from tests.support.bounds import bounded


def test_the_text_form_is_the_one_in_the_specification() -> None:
    assert str(Position(0x00C0FFEE00C0FFEE, 42)) == "00c0ffee00c0ffee:42"
    assert Position.parse("00c0ffee00c0ffee:42") == (0x00C0FFEE00C0FFEE, 42)


@bounded(200)
@given(st.integers(0, EPOCH_MAX), st.integers(0, OFFSET_MAX))
def test_every_position_survives_its_text(epoch: int, offset: int) -> None:
    assert Position.parse(str(Position(epoch, offset))) == (epoch, offset)


@bounded(200)
@given(st.text(max_size=40))
def test_any_other_text_is_refused_and_what_is_accepted_is_written_back_the_same(text: str) -> None:
    try:
        position = Position.parse(text)
    except ValueError as error:
        assert "expected EPOCH:OFFSET" in str(error)
    else:
        assert str(position) == text


def test_a_refusal_repeats_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(ValueError, match="is no position") as refused:
        Position.parse("7" * 1_000_000)
    assert len(str(refused.value)) < 200
