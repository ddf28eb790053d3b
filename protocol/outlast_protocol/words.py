"""Vectors of little-endian unsigned words, read and written by C whatever their length.

`code` is `H`, `I` or `Q`: 2, 4 or 8 bytes a word.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable


def read_words(code: str, data: bytes, start: int, end: int) -> array[int]:
    """The words in data[start:end], which is a whole number of them."""
    words = array(code, data[start:end])
    if sys.byteorder == "big":
        words.byteswap()
    return words


def pack_words(code: str, words: Iterable[int]) -> bytes:
    packed = array(code, words)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
