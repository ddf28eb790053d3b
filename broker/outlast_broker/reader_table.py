"""Whoever reads the store, in whichever process: a backup reads it for as long as it takes."""

from __future__ import annotations

import os
import threading


class ReaderTable:
    """LMDB says which transaction each reader sees, and not since when: that is when one was first seen here."""

    def __init__(self) -> None:
        self._since_us: dict[str, int] = {}

    def oldest_us(self, table: str, now_us: int) -> int:
        """How long the one goes on that has been seen first, but for who asks.

        `table` is LMDB's: a row for each reader, with its process, its thread, and its transaction if it has one.
        """
        asker = f"{os.getpid()} {threading.get_ident():x} "
        rows = (" ".join(line.split()) for line in table.splitlines()[1:])
        there = [row for row in rows if row[-1:].isdigit() and not row.startswith(asker)]
        self._since_us = {row: self._since_us.get(row, now_us) for row in there}
        return now_us - min(self._since_us.values(), default=now_us)
