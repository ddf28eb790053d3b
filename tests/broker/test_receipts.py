"""PROTOCOL.md 6.9 as clients see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.engine import ROWS_WAITING_MAX
from outlast_broker.log import Log
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import (
    Ack,
    Await,
    Cursors,
    Delete,
    Error,
    Forget,
    GoAway,
    Reply,
    Resync,
    Subscribed,
    Truncate,
)
from outlast_protocol.limits import AWAIT_MS_MAX, AWAITS_MAX, CURSORS_MAX

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
LONG_MS = 60_000


def reader(stage: Stage, records: int = 10) -> tuple[Actor, int]:
    """Somebody who has opened a room of so many records."""
    actor = stage.client("reader")
    number = actor.open("room").number
    for offset in range(1, records + 1):
        actor.publish(number, f"{offset}")
    return actor, number


def ack(actor: Actor, number: int, offset: int, cursor: str = "phone") -> int:
    standing: int = actor.result(Ack(actor.request(), number, cursor, offset))["offset"]
    return standing


def waiting(actor: Actor, number: int, offset: int, cursor: str = "phone", timeout_ms: int = LONG_MS) -> Await:
    return Await(actor.request(), number, cursor, offset, timeout_ms)


def cursors(actor: Actor, **what: Any) -> dict[str, int]:
    rows = actor.result(Cursors(actor.request(), "room", **what))["cursors"]
    return {row["cursor"]: row["offset"] for row in rows}


def marks(stage: Stage) -> list[dict[str, int]]:
    """What each commit has written of cursors."""
    written = [work.cursors for work in stage.log.works if work.cursors]
    return [{name: standing.offset for (_, name), standing in each.items() if standing} for each in written]


# --- ACK --------------------------------------------------------------------------------------------------


def test_a_cursor_never_goes_back(stage: Stage) -> None:
    alice, number = reader(stage)
    assert [ack(alice, number, offset) for offset in (3, 7, 5, 7, 8)] == [3, 7, 7, 7, 8]
    assert marks(stage) == [{"phone": 3}, {"phone": 7}, {"phone": 8}]


def test_an_offset_ahead_of_the_log_is_refused_with_the_last_one(stage: Stage) -> None:
    alice, number = reader(stage, 4)
    for frame in (Ack(50, number, "phone", 5), waiting(alice, number, 5)):
        assert alice.refused(frame, ErrorCode.OFFSET_AHEAD).detail == {"last": 4}
    assert cursors(alice) == {}


def test_what_is_not_on_disk_cannot_be_acknowledged(stage: Stage) -> None:
    alice, number = reader(stage, 1)
    stage.log.hold()
    alice.send(alice.publishing(number, "2"))
    stage.hold_in_commit()
    assert alice.refused(Ack(50, number, "phone", 2), ErrorCode.OFFSET_AHEAD).detail == {"last": 1}
    stage.log.go_on()


def test_two_readers_share_a_cursor(stage: Stage) -> None:
    alice, number = reader(stage)
    bob = stage.client("bob")
    bob.open("room")
    assert ack(alice, number, 4) == 4
    assert ack(bob, number, 2) == 4
    assert ack(bob, number, 6) == 6
    assert cursors(alice) == {"phone": 6}


def test_those_of_one_commit_are_written_once(stage: Stage) -> None:
    alice, number = reader(stage)
    stage.log.hold()
    alice.send(alice.publishing(number, "11"))
    stage.hold_in_commit()
    alice.send(*[Ack(100 + offset, number, cursor, offset) for offset in range(1, 11) for cursor in ("phone", "tab")])
    stage.log.go_on()
    stage.idle()
    replies = [frame for frame in alice.came if isinstance(frame, Reply)]
    assert len(replies) == 20 and max(reply.result["offset"] for reply in replies) == 10
    assert marks(stage) == [{"phone": 10, "tab": 10}]


def test_it_is_answered_after_the_commit(stage: Stage) -> None:
    alice, number = reader(stage)
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 3), Ack(51, number, "phone", 3), Cursors(52, "room"))
    stage.hold_in_commit()
    assert alice.silent
    stage.log.go_on()
    assert [alice.expect(Reply).request for _ in range(3)] == [50, 51, 52]


def test_who_acknowledges_faster_than_the_disk_is_not_read_from(stage: Stage) -> None:
    alice, number = reader(stage, 1)
    others = [alice.open(f"room {index}").number for index in range(2)]
    for other in others:
        alice.publish(other, "1")
    stage.log.hold()
    alice.send(alice.publishing(number, "2"))
    stage.hold_in_commit()
    acks = [Ack(100, other, f"{index}", 1) for other in others for index in range(ROWS_WAITING_MAX // 2 + 1)]
    alice.send(*acks[:-2])
    assert not alice.wire.paused
    alice.send(*acks[-2:])
    assert alice.wire.paused
    stage.log.go_on()
    stage.idle()
    assert not alice.wire.paused
    assert len([frame for frame in alice.came if isinstance(frame, Reply)]) == len(acks)


def test_offset_0_makes_a_cursor(stage: Stage) -> None:
    alice, number = reader(stage, 0)
    assert ack(alice, number, 0) == 0
    assert cursors(alice) == {"phone": 0}


@pytest.mark.parametrize("name", ["", "x" * 129, "ä" * 65, "a\nb", "\x7f"])
def test_names_have_1_to_128_bytes_and_no_control_characters(stage: Stage, name: str) -> None:
    alice, number = reader(stage, 1)
    frames = [Ack(50, number, name, 1), Await(51, number, name, 1, 1), alice.subscribing(number, cursor=name, last=1)]
    for frame in frames:
        assert alice.refused(frame, ErrorCode.BAD_BODY)
    assert ack(alice, number, 1, "ä" * 64) == 1


def test_a_channel_holds_a_thousand(stage: Stage) -> None:
    alice, number = reader(stage, 1)
    alice.send(*[Ack(100 + index, number, f"{index}", 1) for index in range(CURSORS_MAX)])
    stage.idle()
    alice.came.clear()
    error = alice.refused(Ack(50, number, "one more", 1), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "cursors", "value": CURSORS_MAX}
    assert alice.result(Forget(51, "room", "7")) == {"offset": 1}
    assert ack(alice, number, 1, "one more") == 1


def test_a_broker_that_takes_no_changes_moves_cursors_and_makes_none(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 1)
    stage.engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is full", retry_after_ms=1)
    assert ack(alice, number, 2) == 2
    assert alice.refused(Ack(50, number, "tab", 2), ErrorCode.READ_ONLY)


def test_an_unopened_number_is_unknown(stage: Stage) -> None:
    alice = stage.client()
    assert alice.refused(Ack(1, 99, "phone", 0), ErrorCode.UNKNOWN_CHANNEL)
    assert alice.refused(Await(2, 99, "phone", 0, 1), ErrorCode.UNKNOWN_CHANNEL)


# --- AWAIT ------------------------------------------------------------------------------------------------


def test_an_await_is_answered_when_the_cursor_is_there_on_disk(stage: Stage) -> None:
    alice, number = reader(stage)
    bob = stage.client("bob")
    bob.open("room")
    request = waiting(alice, number, 5)
    alice.send(request)
    assert ack(bob, number, 4) == 4
    stage.idle()
    assert alice.silent
    stage.log.hold()
    bob.send(Ack(50, number, "phone", 6))
    stage.hold_in_commit()
    assert alice.silent
    stage.log.go_on()
    assert alice.expect(Reply) == Reply(request.request, {"offset": 6})
    assert not alice.connection.awaits


def test_an_await_of_where_it_stands_waits_for_the_commit_alone(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 5)
    assert alice.result(waiting(alice, number, 5)) == {"offset": 5}
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 6), Await(51, number, "phone", 6, LONG_MS))
    stage.hold_in_commit()
    assert alice.silent
    stage.log.go_on()
    assert [alice.expect(Reply).result for _ in range(2)] == [{"offset": 6}] * 2


def test_an_answer_tells_of_nothing_that_is_not_on_disk(stage: Stage) -> None:
    """While the group that reached the waiter is written, the next one has moved the cursor on already."""
    alice, number = reader(stage)
    bob = stage.client("bob")
    bob.open("room")
    alice.send(waiting(alice, number, 2))
    stage.log.hold()
    bob.send(Ack(50, number, "phone", 2))
    stage.hold_in_commit()
    bob.send(Ack(51, number, "phone", 9))
    stage.log.go_on()
    assert alice.expect(Reply).result == {"offset": 2}


def test_one_that_is_late_is_told_where_the_cursor_stands(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 3)
    error = alice.refused(waiting(alice, number, 5, timeout_ms=1), ErrorCode.CURSOR_BEHIND)
    assert error.detail == {"offset": 3}
    assert not alice.connection.awaits and not stage.channel("room").cursors.waiters()  # type: ignore[union-attr]
    assert alice.refused(waiting(alice, number, 1, "nobody", 0), ErrorCode.CURSOR_BEHIND).detail == {"offset": 0}


def test_one_that_is_reached_by_a_commit_under_way_is_not_late(stage: Stage) -> None:
    alice, number = reader(stage)
    alice.send(waiting(alice, number, 5, timeout_ms=1))
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 5))
    stage.hold_in_commit()
    fired = stage.loop.create_future()
    stage.loop.call_later(0.01, fired.set_result, None)
    stage.loop.run_until_complete(fired)
    stage.log.go_on()
    assert [alice.expect(Reply).result for _ in range(2)] == [{"offset": 5}] * 2


def test_when_the_channel_goes_everybody_is_told(stage: Stage) -> None:
    alice, number = reader(stage)
    bob = stage.client("bob")
    bob.open("room")
    bob.send(waiting(bob, number, 5))
    alice.result(Delete(alice.request(), "room"))
    assert bob.expect(Error).code == ErrorCode.UNKNOWN_CHANNEL
    assert not bob.connection.awaits


def test_who_has_left_waits_for_nothing(stage: Stage) -> None:
    alice, number = reader(stage)
    bob = stage.client("bob")
    bob.open("room")
    bob.send(*[waiting(bob, number, offset) for offset in range(1, 6)])
    bob.leave()
    assert not stage.channel("room").cursors.waiters()  # type: ignore[union-attr]
    assert ack(alice, number, 5) == 5


def test_when_the_broker_leaves_everybody_is_told(stage: Stage) -> None:
    alice, number = reader(stage)
    alice.send(waiting(alice, number, 5))
    stage.call(lambda: alice.connection.go_away("stopping", 500))
    stage.call(stage.engine.outbox.flush)
    assert alice.expect(GoAway)
    error = alice.expect(Error)
    assert ErrorCode(error.code) is ErrorCode.GOING_AWAY and error.detail == {"retry_after_ms": 500}


def test_a_connection_has_so_many_unanswered(stage: Stage) -> None:
    alice, number = reader(stage)
    alice.send(*[waiting(alice, number, 5) for _ in range(AWAITS_MAX)])
    error = alice.refused(waiting(alice, number, 5), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "awaits", "value": AWAITS_MAX}
    alice.send(Ack(5_000, number, "phone", 5))
    stage.idle()
    assert len(alice.came) == AWAITS_MAX + 1
    alice.came.clear()
    assert alice.result(waiting(alice, number, 5)) == {"offset": 5}


def test_nobody_waits_longer_than_an_hour(stage: Stage) -> None:
    alice, number = reader(stage)
    assert alice.refused(waiting(alice, number, 5, timeout_ms=AWAIT_MS_MAX + 1), ErrorCode.BAD_BODY)


# --- CURSORS and FORGET -----------------------------------------------------------------------------------


def test_a_list_says_where_each_stands(time: Time, stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 3)
    acked_ms = time.ms
    time.advance(50)
    ack(alice, number, 3)
    assert alice.result(Cursors(50, "room")) == {
        "cursors": [{"cursor": "phone", "offset": 3, "lag": 7, "acked_ms": acked_ms}],
        "more": False,
    }


def test_a_list_comes_in_pages(stage: Stage) -> None:
    alice, number = reader(stage)
    for name in ("c", "a", "b"):
        ack(alice, number, 1, name)
    page = alice.result(Cursors(50, "room", limit=2))
    assert [row["cursor"] for row in page["cursors"]] == ["a", "b"] and page["more"]
    page = alice.result(Cursors(51, "room", "b", 2))
    assert [row["cursor"] for row in page["cursors"]] == ["c"] and not page["more"]
    for limit in (0, CURSORS_MAX + 1):
        assert alice.refused(Cursors(52, "room", limit=limit), ErrorCode.BAD_BODY)


def test_the_fullest_list_fits_a_reply(stage: Stage) -> None:
    alice, number = reader(stage, 1)
    alice.send(*[Ack(100 + index, number, f"{index:0128}", 1) for index in range(CURSORS_MAX)])
    stage.idle()
    alice.came.clear()
    assert len(cursors(alice, limit=CURSORS_MAX)) == CURSORS_MAX


def test_what_is_forgotten_is_gone(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 3)
    assert alice.result(Forget(50, "room", "phone")) == {"offset": 3}
    assert cursors(alice) == {}
    assert alice.refused(Forget(51, "room", "phone"), ErrorCode.UNKNOWN_CURSOR)
    assert ack(alice, number, 1) == 1


def test_a_channel_that_does_not_exist_has_none(stage: Stage) -> None:
    alice = stage.client()
    assert alice.refused(Cursors(1, "room"), ErrorCode.UNKNOWN_CHANNEL)
    assert alice.refused(Forget(2, "room", "phone"), ErrorCode.UNKNOWN_CHANNEL)


# --- SUBSCRIBE by cursor ----------------------------------------------------------------------------------


def test_a_subscription_goes_on_behind_its_cursor(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 7)
    answer = alice.subscribe(number, cursor="phone", start="latest")
    assert (answer.after, answer.resync) == (7, None)
    assert [record.offset for record in alice.records(10)] == [8, 9, 10]


@pytest.mark.parametrize(("start", "after"), [({"start": "earliest"}, 0), ({"start": "latest"}, 10), ({"last": 3}, 7)])
def test_a_new_cursor_starts_where_it_is_told(stage: Stage, start: dict[str, Any], after: int) -> None:
    alice, number = reader(stage)
    assert alice.subscribe(number, cursor="phone", **start).after == after
    assert cursors(stage.client("bob")) == {}


def test_a_cursor_that_retention_has_passed_says_trimmed(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 2)
    alice.result(Truncate(alice.request(), "room", 6))
    answer = alice.subscribe(number, cursor="phone", start="latest")
    assert (answer.after, answer.resync) == (5, "trimmed")


def test_a_start_by_cursor_waits_until_it_is_on_disk(stage: Stage) -> None:
    alice, number = reader(stage)
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 4), alice.subscribing(number, cursor="phone", start="latest"))
    stage.hold_in_commit()
    assert alice.silent
    stage.log.go_on()
    assert alice.expect(Reply).result == {"offset": 4}
    assert alice.expect(Subscribed).after == 4


# --- lives ------------------------------------------------------------------------------------------------


def test_cursors_survive_a_crash(staged: Staged) -> None:
    first = staged()
    alice, number = reader(first)
    ack(alice, number, 4)
    ack(alice, number, 5, "tab")
    alice.result(Forget(50, "room", "tab"))
    first.log.hold()
    alice.send(Ack(51, number, "phone", 6))
    first.hold_in_commit()
    left: Log = first.crash()
    second = staged(left)
    bob = second.client("bob")
    assert cursors(bob) == {"phone": 4}
    assert bob.subscribe(bob.open("room").number, cursor="phone", start="latest").after == 4


def test_they_end_with_the_life_of_their_channel(stage: Stage) -> None:
    alice, number = reader(stage)
    ack(alice, number, 4)
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 5), Ack(51, number, "tab", 5), Delete(52, "room"))
    stage.hold_in_commit()
    stage.log.go_on()
    assert [alice.expect(Reply).request for _ in range(3)] == [50, 51, 52]
    assert stage.log.cursors(number) == {}
    alice.open("room")
    assert cursors(alice) == {}


def test_readers_are_told_of_the_deletion_before_their_awaits(stage: Stage) -> None:
    alice, number = reader(stage, 1)
    alice.subscribe(number, start="latest")
    alice.send(waiting(alice, number, 1), Delete(60, "room"))
    assert alice.expect(Resync).reason == "deleted"
    assert alice.expect(Error).code == ErrorCode.UNKNOWN_CHANNEL


def test_a_channel_whose_cursor_is_on_its_way_to_disk_stays_in_memory(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = reader(stage)
    stage.settle("room")
    stage.log.hold()
    alice.send(Ack(50, number, "phone", 4))
    stage.hold_in_commit()
    alice.leave()
    stage.call(lambda: stage.engine.tick(0))
    bob = stage.client("bob")
    bob.send(Cursors(1, "room"))
    stage.log.go_on()
    [row] = bob.expect(Reply).result["cursors"]
    assert row["offset"] == 4
