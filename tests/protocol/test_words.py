from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given, strategies as st
from outlast_protocol import words

from tests.support.bounds import bounded

WIDTHS = {"H": 2, "I": 4, "Q": 8}


@pytest.mark.parametrize(("code", "width"), WIDTHS.items())
def test_words_have_the_width_that_the_wire_gives_them(code: str, width: int) -> None:
    assert words.pack_words(code, [1]) == b"\x01" + bytes(width - 1)
    assert list(words.read_words(code, bytes(width) * 3, 0, width * 3)) == [0, 0, 0]


@bounded(100)
@given(st.sampled_from(list(WIDTHS)), st.data())
def test_words_are_little_endian_and_come_back(code: str, data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2 ** (8 * WIDTHS[code]) - 1), max_size=10))
    packed = words.pack_words(code, numbers)
    assert packed == struct.pack(f"<{len(numbers)}{code}", *numbers)
    assert list(words.read_words(code, b"..." + packed + b".", 3, 3 + len(packed))) == numbers


def test_a_machine_of_the_other_byte_order_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"little": "big", "big": "little"}[sys.byteorder]
    here = words.pack_words("H", [1] * 65)
    monkeypatch.setattr(sys, "byteorder", other)
    assert words.pack_words("H", [1] * 65) == here[::-1]
    assert list(words.read_words("H", here[::-1], 0, 130)) == [1] * 65


@pytest.mark.parametrize(("code", "width"), WIDTHS.items())
def test_what_does_not_fit_a_word_is_refused(code: str, width: int) -> None:
    with pytest.raises(OverflowError):
        words.pack_words(code, [2 ** (8 * width)])
