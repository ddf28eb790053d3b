"""COMPACT, and DELETE with `hard`, as clients see them (PROTOCOL.md 6.8)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outlast_broker import compacting
from outlast_broker.folder import NoRoom
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Compacted, Log
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Compact, Delete, Reply

from tests.broker.stage import Stage

MIB = 1 << 20
SECRET = "xylophonics"


class Gated:
    """A log whose compaction waits, and does what it is told."""

    def __init__(self, log: Log) -> None:
        self.kept = log
        self.gate = threading.Event()
        self.failure: Exception | None = None
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)

    def compact(self, reserve_bytes: int) -> Compacted:
        self.runs += 1
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return self.kept.compact(reserve_bytes)

    def give_up_compaction(self) -> None:
        self.gate.set()


@pytest.fixture
def log() -> Gated:
    return Gated(MemoryLog())


@pytest.fixture
def gated(staged: Callable[..., Stage], log: Gated) -> Stage:
    return staged(log)


def test_compact_is_answered_when_it_is_done(gated: Stage, log: Gated) -> None:
    alice = gated.client("alice")
    alice.publish(alice.open("room").number, "x")
    alice.send(Compact(90))
    gated.until(lambda: log.runs == 1)
    assert alice.silent
    assert alice.publish(alice.open("room").number, "y") == (2, False), "everything goes on meanwhile"
    log.gate.set()
    gated.until(lambda: not alice.silent)
    assert alice.expect(Reply) == Reply(90, {"before_bytes": 0, "after_bytes": 0})


def test_who_asks_while_one_is_made_waits_for_the_next(gated: Stage, log: Gated) -> None:
    alice, bob = gated.client("alice"), gated.client("bob")
    alice.send(Compact(1))
    gated.until(lambda: log.runs == 1)
    bob.send(Compact(2), Compact(3))
    log.gate.set()
    gated.until(lambda: not bob.silent)
    assert [bob.expect(Reply).request, bob.expect(Reply).request] == [2, 3]
    assert log.runs == 2


def test_a_hard_delete_is_gone_at_once_and_answered_when_it_is_erased(gated: Stage, log: Gated) -> None:
    alice = gated.client("alice")
    epoch = alice.open("room").epoch
    alice.send(Delete(90, "room", True))
    gated.until(lambda: log.runs == 1)
    assert alice.silent
    alice.refused(Delete(91, "room"), ErrorCode.UNKNOWN_CHANNEL)
    log.gate.set()
    gated.until(lambda: not alice.silent)
    assert alice.expect(Reply) == Reply(90, {"epoch": epoch})


def test_without_room_it_is_refused_and_tried_again(gated: Stage, log: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    log.failure = NoRoom("3 bytes are free")
    log.gate.set()
    alice = gated.client("alice")
    alice.open("room")
    answer = alice.refused(Delete(90, "room", True), ErrorCode.READ_ONLY)
    assert "the channel is deleted" in answer.message and "3 bytes are free" in answer.message
    assert answer.detail["retry_after_ms"] == 600_000
    assert "3 bytes" in alice.refused(Compact(91), ErrorCode.READ_ONLY).message


def test_a_stop_gives_up_what_is_being_made(gated: Stage, log: Gated) -> None:
    gated.client("alice").send(Compact(90))
    gated.until(lambda: log.runs == 1)
    gated.close()
    assert log.gate.is_set()


# --- on disk ----------------------------------------------------------------------------------------------


def opened(staged: Callable[..., Stage], folder: Path) -> Stage:
    return staged(LmdbLog(folder, 64 * MIB), disk_reserve_bytes=0, journal_age_ms=0)


def test_nothing_of_a_channel_that_is_deleted_hard_is_in_the_file(staged: Callable[..., Stage], tmp_path: Path) -> None:
    stage = opened(staged, tmp_path)
    alice = stage.client("alice")
    secret, other = alice.open(f"of {SECRET}"), alice.open("other")
    for _ in range(20):
        alice.publish(secret.number, *[f"{SECRET} {n}" for n in range(30)])
        alice.publish(other.number, "kept")
        stage.settle("other")
    alice.publish(secret.number, f"in the journal: {SECRET}")
    assert SECRET.encode() in (tmp_path / "data.mdb").read_bytes()
    alice.result(Delete(90, f"of {SECRET}", True))
    assert SECRET.encode() not in (tmp_path / "data.mdb").read_bytes()
    assert alice.publish(other.number, "more") == (21, False)
    alice.subscribe(other.number)
    assert len(alice.records(21)) == 21


def test_what_was_owed_is_paid_by_the_next_broker(staged: Callable[..., Stage], tmp_path: Path) -> None:
    stage = opened(staged, tmp_path)
    alice = stage.client("alice")
    alice.publish(alice.open("room").number, SECRET)
    alice.open("other")

    def refuse(reserve_bytes: int) -> Compacted:
        raise NoRoom("nothing is free")

    stage.log.kept.compact = refuse  # type: ignore[method-assign]
    alice.refused(Delete(90, "room", True), ErrorCode.READ_ONLY)
    assert stage.log.owes_compaction()
    stage.close()
    again = opened(staged, tmp_path)
    again.call(again.engine.compacting.pay)
    again.until(lambda: not again.log.owes_compaction())
    assert SECRET.encode() not in (tmp_path / "data.mdb").read_bytes()
    again.client("bob").open("other", create=False)


def test_what_is_owed_is_tried_again_by_the_clock(
    staged: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "RETRY_S", 0.001)
    log = Gated(LmdbLog(tmp_path, 64 * MIB))
    log.gate.set()
    log.failure = NoRoom("nothing is free")
    stage = staged(log, disk_reserve_bytes=0)
    alice = stage.client("alice")
    alice.open("room")
    alice.refused(Delete(90, "room", True), ErrorCode.READ_ONLY)
    stage.call(stage.engine.compacting.pay)
    stage.until(lambda: log.runs > 3)
    log.failure = None
    stage.until(lambda: not log.owes_compaction())
