"""Where a time lies in a channel (PROTOCOL.md 6.5): in the tail, in chunks, or nowhere yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.damage import Damaged
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Error, History, Page, Subscribed, Truncate, Unsubscribe

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
BIRTH_MS = 1_700_000_000_000


def ten(time: Time, stage: Stage, settled: int) -> tuple[Actor, int]:
    """A client, and a channel of records 1 to 10: two every 10 ms. The first `settled` batches lie in chunks."""
    alice = stage.client("alice")
    number = alice.open("room").number
    for at in range(5):
        alice.publish(number, "x", "y")
        time.advance(10)
        if at + 1 == settled:
            stage.settle("room")
    return alice, number


# A time and the offset before the first record that is not older.
TIMES = [(0, 0), (BIRTH_MS, 0), (BIRTH_MS + 1, 2), (BIRTH_MS + 10, 2), (BIRTH_MS + 11, 4), (BIRTH_MS + 39, 8),
         (BIRTH_MS + 40, 8), (BIRTH_MS + 41, 10), (2**62, 10)]  # fmt: skip


@pytest.mark.parametrize("settled", [0, 1, 3, 5])
def test_a_time_is_found_wherever_its_records_lie(time: Time, staged: Staged, settled: int) -> None:
    stage = staged(journal_age_ms=0 if settled else 10**9)
    alice, number = ten(time, stage, settled)
    for since_ms, after in TIMES:
        assert alice.subscribe(number, credit=0, since_ms=since_ms).after == after, since_ms
        alice.result(Unsubscribe(alice.request(), number))
        alice.send(History(alice.request(), number, since_ms=since_ms))
        assert alice.expect(Page).low == after + 1, since_ms


@pytest.mark.parametrize("settled", [0, 5])
def test_what_is_trimmed_is_no_start(time: Time, staged: Staged, settled: int) -> None:
    alice, number = ten(time, staged(journal_age_ms=0 if settled else 10**9), settled)
    alice.result(Truncate(alice.request(), "room", 6))
    subscribed = alice.subscribe(number, since_ms=BIRTH_MS + 11)
    assert (subscribed.after, subscribed.first, subscribed.resync) == (5, 6, None)


def test_an_empty_channel_starts_at_its_end(stage: Stage) -> None:
    alice = stage.client()
    assert alice.subscribe(alice.open("room").number, since_ms=0).after == 0


def test_what_moves_into_chunks_while_they_are_read_is_not_passed_over(time: Time, staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = ten(time, stage, 3)
    stage.log.hold_reads()
    alice.send(alice.subscribing(number, since_ms=BIRTH_MS + 11))
    stage.turn()
    assert stage.log.reading.wait(5)
    stage.settle("room")
    stage.log.go_on_reading()
    assert alice.expect(Subscribed).after == 4
    assert [record.offset for record in alice.records(10)] == list(range(5, 11))


def test_one_who_unsubscribes_while_it_is_looked_for_is_told(time: Time, staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = ten(time, stage, 5)
    stage.log.hold_reads()
    alice.send(alice.subscribing(number, since_ms=0))
    alice.result(Unsubscribe(90, number))
    stage.log.go_on_reading()
    assert ErrorCode(alice.expect(Error).code) is ErrorCode.NOT_SUBSCRIBED
    assert alice.subscribe(number, start="latest").after == 10


class Torn(MemoryLog):
    """A log in which no time can be looked for any more."""

    def find_time(self, number: int, time_ms: int) -> Any:
        raise Damaged(f"a chunk of channel number {number} fails its checksum")


def test_a_subscription_that_meets_damage_is_refused_and_may_be_tried_again(staged: Callable[..., Stage]) -> None:
    stage = staged(Torn(), journal_age_ms=0)
    alice = stage.client()
    number = alice.open("room").number
    alice.publish(number, "x")
    stage.settle("room")
    error = alice.refused(alice.subscribing(number, since_ms=0), ErrorCode.DAMAGED)
    assert error.detail == {"number": number}
    assert alice.subscribe(number, start="earliest").after == 0
    assert len(alice.records(1)) == 1
