from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st
from outlast_protocol import Encoding, ErrorCode, ProtocolError
from outlast_protocol.operations import WHOLE_MAX
from outlast_protocol.state_value import increased, read_whole

from tests.support.bounds import bounded


@bounded(100)
@given(st.integers(-WHOLE_MAX, WHOLE_MAX), st.text(" \t\r\n", max_size=3))
def test_whole_numbers_in_json_are_read(number: int, around: str) -> None:
    assert read_whole(Encoding.JSON, f"{around}{number}{around}".encode()) == number


@pytest.mark.parametrize(
    "text",
    ["", "-", "1.0", "1e3", "01", "+1", "0x1", "1 2", '"1"', "true", "null", "[1]", "NaN", "١", "1_000", "1\u00a0",
     str(WHOLE_MAX + 1), str(-WHOLE_MAX - 1), "9" * 5_000],
)  # fmt: skip
def test_nothing_else_is_a_whole_number(text: str) -> None:
    assert read_whole(Encoding.JSON, text.encode()) is None


@pytest.mark.parametrize("encoding", [Encoding.BYTES, Encoding.TEXT])
def test_text_and_bytes_are_no_numbers(encoding: Encoding) -> None:
    assert read_whole(encoding, b"1") is None


@bounded(200)
@given(st.binary(max_size=20) | st.from_regex(rb"\A[ \n]?-?[0-9]{1,17}([.eE]0)?\Z"))
def test_what_is_read_is_what_every_json_reader_reads(data: bytes) -> None:
    number = read_whole(Encoding.JSON, data)
    if number is not None:
        assert json.loads(data.decode()) == number
        assert type(json.loads(data.decode())) is int


def test_a_sum_stays_within_what_every_language_holds() -> None:
    assert increased("n", WHOLE_MAX - 1, 1) == WHOLE_MAX
    assert increased("n", 1, -WHOLE_MAX - 1) == -WHOLE_MAX
    for number, by in ((WHOLE_MAX, 1), (-WHOLE_MAX, -1), (WHOLE_MAX, WHOLE_MAX)):
        with pytest.raises(ProtocolError) as raised:
            increased("n", number, by)
        assert raised.value.code is ErrorCode.NOT_A_NUMBER
        assert raised.value.detail == {"key": "n"}
