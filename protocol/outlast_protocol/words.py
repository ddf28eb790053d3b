"""Vectors of little-endian unsigned words, read and written by C whatever their length.

`code` is `H`, `I` or `Q`: 2, 4 or 8 bytes a word.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from struct import Struct

_WORD_BYTES = {"H": 2, "I": 4, "Q": 8}
# A Struct reads a few words faster than an array does, and needs no copy of them.
_FEW = 64
_STRUCTS = {code: [Struct(f"<{count}{code}") for count in range(_FEW + 1)] for code in _WORD_BYTES}


def read_words(code: str, data: bytes, start: int, end: int) -> Sequence[int]:
    """The words in data[start:end], which is a whole number of them."""
    count = (end - start) // _WORD_BYTES[code]
    if count <= _FEW:
        return _STRUCTS[code][count].unpack_from(data, start)
    words = array(code, data[start:end])
    if sys.byteorder == "big":
        words.byteswap()
    return words


def pack_words(code: str, words: Iterable[int]) -> bytes:
    packed = array(code, words)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
