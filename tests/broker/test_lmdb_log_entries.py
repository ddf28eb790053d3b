"""Heads, names and cursors are few bytes, but wrong ones would give offsets twice or skip records: promise 7."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outlast_broker.cursor import Standing
from outlast_broker.damage import Damaged
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Work

from tests.broker.logs import create
from tests.broker.store import flipped, put, values

MAP_BYTES = 1 << 26
READS: list[tuple[str, Callable[[LmdbLog], Any]]] = [
    ("chunks", lambda log: log.head(1)),
    ("names", lambda log: log.find("room")),
    ("names", lambda log: log.names("", None, 10)),
    ("cursors", lambda log: log.cursors(1)),
]


def stored(folder: Path) -> None:
    log = LmdbLog(folder, MAP_BYTES)
    number = create(log, "room")
    work = Work()
    work.cursors[number, "phone"] = Standing(7, 1_000)
    log.commit(work)
    log.close()


@pytest.mark.parametrize(("database", "read"), READS)
def test_no_flipped_byte_is_taken_for_what_was_written(
    tmp_path: Path, database: str, read: Callable[[LmdbLog], Any]
) -> None:
    stored(tmp_path)
    [(key, value)] = values(tmp_path, database)
    for at in range(len(value)):
        put(tmp_path, database, key, flipped(value, at, at % 8))
        log = LmdbLog(tmp_path, MAP_BYTES)
        with pytest.raises(Damaged):
            read(log)
        log.close()


def test_the_next_number_is_not_taken_from_damaged_bytes(tmp_path: Path) -> None:
    """A number that is given twice would join two channels' records."""
    stored(tmp_path)
    key, value = next(pair for pair in values(tmp_path, "store") if pair[0] == b"next")
    put(tmp_path, "store", key, flipped(value, len(value) - 1))
    with pytest.raises(Damaged):
        LmdbLog(tmp_path, MAP_BYTES)


def test_an_entry_under_another_key_is_damage(tmp_path: Path) -> None:
    stored(tmp_path)
    [(_, value)] = values(tmp_path, "names")
    put(tmp_path, "names", b"lobby", value)
    log = LmdbLog(tmp_path, MAP_BYTES)
    with pytest.raises(Damaged):
        log.find("lobby")
    assert log.find("room") == 1
    log.close()
