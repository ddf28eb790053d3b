"""Tiles: batches that stand for a range of offsets and hold what is left of them (PROTOCOL.md 4.7)."""

from __future__ import annotations

from zlib import crc32

from .batch import HEAD, HEAD_BYTES, KIND_TILE, STAMP, STAMP_BYTES
from .limits import BATCH_BYTES_MAX


def make_tile(first: int, last: int, time_ms: int, run: bytes) -> bytes:
    """The tile of offsets `first` to `last` that holds the stamped batches in `run`; `time_ms` is that of `last`.

    `run` has no tiles, and leaves room for a head within BATCH_BYTES_MAX.
    """
    assert first <= last, "a tile stands for one offset at least"
    assert len(run) <= BATCH_BYTES_MAX - HEAD_BYTES, "a tile fits into one frame, as every batch does"
    covered = HEAD.pack(0, 0, 0, 0, KIND_TILE, 0, 0, last - first + 1, 0)[STAMP_BYTES:] + run
    return STAMP.pack(HEAD_BYTES + len(run), crc32(covered), first, time_ms) + covered


def tile_run(tile: bytes) -> bytes:
    """The batches that a tile holds, end to end."""
    return tile[HEAD_BYTES:]


def is_tile(run: bytes, start: int = 0) -> bool:
    """Whether the batch that begins at `start` is one."""
    return run[start + STAMP_BYTES] == KIND_TILE
