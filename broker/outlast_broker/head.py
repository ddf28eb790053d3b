"""A channel's head: what must be known of it besides its records. One small value, rewritten when it changes.

A msgpack array; a later format appends fields, and reads what an earlier one lacks as its default.
"""

from __future__ import annotations

from typing import NamedTuple

import msgpack

from .producers import Packed


class Head(NamedTuple):
    """`next` is the first offset that no chunk holds; what is beyond it lies in the journal."""

    name: str
    epoch: int
    created_ms: int
    first: int = 1
    next: int = 1
    last_ms: int = 0
    stored_bytes: int = 0
    due_ms: int = 0
    last_chunk: int = 0
    last_chunk_bytes: int = 0
    retention: dict[str, int] = {}
    producers: Packed = []
    perishes_ms: int = 0

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb(self)
        return packed


def decode(value: bytes) -> Head:
    return Head(*msgpack.unpackb(value, use_list=True))
