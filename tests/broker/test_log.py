from __future__ import annotations

import inspect

import pytest
from outlast_broker.head import Head
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Creation, Cut, Deletion, Due, Log, Move, Work
from outlast_broker.memory_log import MemoryLog

from tests.broker.logs import batch

HEAD = Head("room", 7, 1_000)
ASKED = [name for name, member in vars(Log).items() if inspect.isfunction(member) and not name.startswith("_")]


@pytest.mark.parametrize("kind", [MemoryLog, LmdbLog])
@pytest.mark.parametrize("name", ASKED)
def test_both_logs_take_what_the_seam_says(kind: type, name: str) -> None:
    stated = inspect.signature(getattr(Log, name)).parameters
    taken = inspect.signature(getattr(kind, name)).parameters
    assert list(taken) == list(stated)


def test_a_new_work_is_empty() -> None:
    assert not Work()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("births", [Creation(1, HEAD)]),
        ("births", [Deletion(1, "room")]),
        ("journal", [b"entry"]),
        ("moves", [Move(1, [[batch(1, "x")]], 0)]),
        ("heads", [(1, HEAD)]),
        ("cuts", [Cut(1, 5)]),
        ("dues", [Due(1, 0, 5)]),
        ("tidy", True),
    ],
)
def test_anything_to_write_makes_a_work(field: str, value: object) -> None:
    work = Work()
    setattr(work, field, value)
    assert work


def test_forgetting_alone_waits_for_something_to_write() -> None:
    work = Work()
    work.forget_journal = 7
    assert not work
