"""What time and retention change (PROTOCOL.md 6.8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from outlast_broker.damage import Damaged
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import CUT_CHUNKS
from outlast_broker.memory_log import MemoryLog
from outlast_broker.retention import Retention
from outlast_protocol.frames import (
    Configure,
    Open,
    Opened,
    Truncate,
)

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
DAY_MS = 86_400_000


def test_an_idle_channel_is_deleted(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice = stage.client()
    alice.publish_many(alice.open("room").number, 1)
    alice.leave()
    time.advance(DAY_MS - 1)
    stage.tick()
    assert stage.engine.open("room", create=False) is not None
    time.advance(2_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is None


def test_a_publish_keeps_a_channel_from_idling_away(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    for _ in range(3):
        alice = stage.client()
        alice.publish_many(alice.open("room").number, 1)
        alice.leave()
        time.advance(DAY_MS - 5_000)
        stage.tick()
    assert stage.engine.open("room", create=False) is not None


def test_a_reader_keeps_a_channel_from_idling_away(time: Time, staged: Staged) -> None:
    """While it reads, and for the same time after it has left."""
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice = stage.client()
    alice.open("room")
    for _ in range(5):
        time.advance(DAY_MS)
        stage.tick()
    alice.leave()
    time.advance(DAY_MS - 5_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is not None
    time.advance(10_000)
    stage.tick()
    assert stage.engine.open("room", create=False) is None


def test_channels_in_use_do_not_keep_idle_ones_from_going(time: Time, staged: Staged) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=DAY_MS))
    alice, bob = stage.client("alice"), stage.client("bob")
    alice.send(*[Open(1 + index, f"busy {index}") for index in range(300)])
    for _ in range(300):
        alice.expect(Opened)
    time.advance(10)
    bob.open("idle")
    bob.leave()
    time.advance(DAY_MS + 5_000)
    for _ in range(5):
        stage.tick()
        time.advance(1_000)
    assert stage.engine.open("idle", create=False) is None


def test_a_bound_beyond_all_time_is_answered_and_harms_nobody(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("room").number
    for request, bound in enumerate((2**63 - 1, 2**63, 2**64 - 1)):
        retention: dict[str, int | None] = {"idle_ttl_ms": bound, "age_ms": bound, "bytes": bound, "records": bound}
        alice.send(Configure(100 + request, "room", retention))
        stage.idle()
        assert len(alice.came) == 1
        alice.came.clear()
    assert alice.publish(number, "x") == (1, False)
    assert stage.failures == []


def retained(staged: Staged, **bounds: int) -> tuple[Stage, Actor, int]:
    """A channel with these bounds, whose records move into chunks with every chance."""
    stage = staged(journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.result(Configure(90, "room", dict(bounds)))
    return stage, alice, number


def test_old_records_go_from_a_quiet_channel(time: Time, staged: Staged) -> None:
    stage, alice, number = retained(staged, age_ms=DAY_MS)
    alice.publish_many(number, 3)
    stage.settle("room")
    time.advance(DAY_MS - 1_000)
    stage.tick()
    assert alice.info("room")["first"] == 1
    time.advance(5_000)
    stage.tick()
    stage.tick()
    assert alice.info("room")["first"] == 4


def test_too_many_bytes_go_from_a_quiet_channel(staged: Staged) -> None:
    stage, alice, number = retained(staged, bytes=100_000)
    alice.publish_many(number, 30, "x" * 20_000)
    stage.settle("room")
    stage.tick()
    info = alice.info("room")
    assert 100_000 <= info["bytes"] <= 100_000 + 40_000 and info["last"] == 30


def test_the_count_of_records_is_exact(staged: Staged) -> None:
    stage, alice, number = retained(staged, records=7)
    alice.publish_many(number, 10, "x", "y", "z")
    stage.settle("room")
    stage.tick()
    info = alice.info("room")
    assert (info["first"], info["last"]) == (24, 30)


def test_the_bytes_of_a_channel_are_those_of_its_chunks(staged: Staged) -> None:
    """Also where a small chunk grows with every move and its beginning is forgotten."""
    stage, alice, number = retained(staged, records=2)
    for _ in range(30):
        alice.publish_many(number, 1, "x" * 200)
        stage.settle("room")
        kept = sum(facts.bytes for facts in stage.log.oldest(number, 99))
        assert stage.channel("room").stored_bytes == kept
    stage.tick()
    assert 0 <= alice.info("room")["bytes"] == sum(facts.bytes for facts in stage.log.oldest(number, 99))


def test_trimming_much_never_takes_much_of_one_commit(staged: Staged, tmp_path: Path) -> None:
    stage = staged(LmdbLog(tmp_path, 1 << 28), journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    for _ in range(3):
        alice.publish_many(number, CUT_CHUNKS, "x" * 33_000)
        stage.settle("room")
    count = len(stage.log.oldest(number, 10_000))
    assert count == 3 * CUT_CHUNKS
    alice.result(Truncate(90, "room", 3 * CUT_CHUNKS + 1))
    counts = [count]
    while counts[-1]:
        stage.until(lambda: len(stage.log.oldest(number, 10_000)) < counts[-1])
        counts.append(len(stage.log.oldest(number, 10_000)))
    assert all(before - after <= 2 * CUT_CHUNKS for before, after in zip(counts, counts[1:], strict=False))
    assert alice.publish(number, "x") == (3 * CUT_CHUNKS + 1, False)
    assert alice.info("room")["bytes"] < 1_000


class Torn(MemoryLog):
    torn = False

    def oldest(self, number: int, count: int) -> Any:
        if self.torn:
            raise Damaged("the head of a chunk fails its checksum")
        return super().oldest(number, count)


def test_damage_found_while_trimming_stops_nobody_else(staged: Staged) -> None:
    log = Torn()
    stage = staged(log, journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.publish_many(number, 3)
    stage.settle("room")
    log.torn = True
    alice.result(Truncate(90, "room", 2))
    assert alice.publish(alice.open("other").number, "x") == (1, False)
    assert stage.failures == [] and stage.engine.counters.damaged
