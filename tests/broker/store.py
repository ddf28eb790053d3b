"""The store's file, read and changed as nobody but a test would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb


@contextmanager
def raw(folder: Path, database: str) -> Iterator[lmdb.Transaction]:
    """A write transaction on one of the store's databases, as nobody but a test would make it."""
    env = lmdb.open(str(folder), max_dbs=8)
    try:
        with env.begin(write=True, db=env.open_db(database.encode())) as txn:
            yield txn
    finally:
        env.close()


def values(folder: Path, database: str) -> list[tuple[bytes, bytes]]:
    with raw(folder, database) as txn:
        return [(bytes(key), bytes(value)) for key, value in txn.cursor()]


def flipped(value: bytes, at: int, bit: int = 0) -> bytes:
    return value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]


def put(folder: Path, database: str, key: bytes, value: bytes) -> None:
    with raw(folder, database) as txn:
        txn.put(key, value)
