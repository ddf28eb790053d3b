from __future__ import annotations

import os
import threading

from outlast_broker.reader_table import ReaderTable

HEAD = "    pid     thread     txnid\n"


def test_how_long_the_oldest_reader_goes_on() -> None:
    """A reader is who it is by process, thread and transaction: one that reads again begins anew."""
    readers = ReaderTable()
    assert readers.oldest_us("(no active readers)\n", 1_000) == 0
    assert readers.oldest_us(f"{HEAD}  7 7f8d 5\n  8 7f8e -\n", 2_000) == 0, "seen for the first time"
    assert readers.oldest_us(f"{HEAD}  7 7f8d 5\n  8 7f8e 6\n", 5_000) == 3_000
    assert readers.oldest_us(f"{HEAD}  7 7f8d 9\n  8 7f8e 6\n", 9_000) == 4_000, "the first is another one now"
    assert readers.oldest_us(f"{HEAD}  7 7f8d -\n", 9_500) == 0


def test_who_asks_is_not_meant() -> None:
    readers = ReaderTable()
    table = f"{HEAD} {os.getpid()} {threading.get_ident():x} 5\n"
    assert (readers.oldest_us(table, 1_000), readers.oldest_us(table, 2_000)) == (0, 0)
