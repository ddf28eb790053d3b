"""ATTACH, MESSAGE and STATE (PROTOCOL.md 6.10), on a stage; test_interleavings.py tries everything at once."""

from __future__ import annotations

from typing import Any

import pytest
from outlast_broker import folded
from outlast_broker.damage import Damaged
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records, spans
from outlast_protocol.frames import (
    Attach,
    Attached,
    Credit,
    Deliver,
    Error,
    Message,
    Page,
    Reply,
    State,
    Subscribe,
    Truncate,
    Unsubscribe,
    encode,
)
from outlast_protocol.limits import (
    FRAME_BYTES_MAX,
    OPEN_MESSAGES_MAX,
    STATE_BYTES_MAX,
    STATE_KEY_BYTES_MAX,
    STATE_KEYS_MAX,
)
from outlast_protocol.operations import MessageState, Op

from tests.broker.growing import (
    Row,
    attach,
    briefs,
    closed,
    grown,
    message,
    opened,
    page,
    plain,
    put,
    replaced,
    say,
    say_each,
    saying,
    unknown,
)
from tests.broker.stage import Actor, Stage, Time
from tests.broker.test_feeder import Staged


def begun(stage: Stage, *rows: Row) -> tuple[Actor, int]:
    """Who publishes, and the number of a channel with these rows, a batch each."""
    agent = stage.client("agent")
    number = agent.open("room").number
    if rows:
        say_each(agent, number, *rows)
    return agent, number


def reader(stage: Stage, name: str = "reader") -> Actor:
    actor = stage.client(name)
    actor.open("room")
    return actor


TALK = (plain("a"), opened("b"), put("key", "v"), grown(2, "c"), opened("d"), closed(5), plain("e"))


# --- ATTACHED ---------------------------------------------------------------------------------------------


def test_attached_says_what_the_channel_is(stage: Stage) -> None:
    agent, number = begun(stage, *TALK)
    actor = reader(stage)
    attached = attach(actor, number, after=3)
    assert (attached.after, attached.through, attached.first, attached.resync) == (3, 7, 1, None)
    assert attached.messages == [2]
    assert [row[:2] + row[5:] for row in attached.state] == [["key", 3, b"v"]]
    assert briefs(actor.records(7)) == [(4, Op.FOLDED, b"bc"), (6, Op.FOLDED, b"d"), (7, None, b"e")]
    say(agent, number, grown(2, "f"))
    assert briefs(actor.records(8)) == [(8, Op.APPEND, b"f")], "what comes behind is given operation by operation"


def test_raw_is_as_it_lies_there(stage: Stage) -> None:
    _, number = begun(stage, *TALK)
    actor = reader(stage)
    assert attach(actor, number, raw=True).messages == [2]
    assert [each.op for each in briefs(actor.records(7))] == [
        None, Op.OPEN, Op.SET, Op.APPEND, Op.OPEN, Op.CLOSE, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "after"),
    [
        ({"start": "earliest"}, 0), ({"start": "latest"}, 7), ({"after": 5}, 5), ({"last": 0}, 7), ({"last": 1}, 6),
        ({"last": 2}, 5), ({"last": 3}, 3), ({"last": 4}, 2), ({"last": 5}, 0), ({"last": 99}, 0), ({"since_ms": 0}, 0),
    ],
)  # fmt: skip
def test_where_it_starts(stage: Stage, start: dict[str, Any], after: int) -> None:
    """`last` counts what is given: a growing message once, at its place."""
    _, number = begun(stage, *TALK)
    actor = reader(stage)
    assert attach(actor, number, **start).after == after
    given = [1, 3, 4, 6, 7]
    expected = [offset for offset in given if offset > after]
    assert [each.offset for each in (briefs(actor.records(7)) if expected else [])] == expected


def test_a_channel_without_anything(stage: Stage) -> None:
    agent, number = begun(stage)
    actor = reader(stage)
    for start in ({"start": "earliest"}, {"last": 5}, {"since_ms": 0}):
        attached = attach(actor, number, **start)
        assert (attached.after, attached.through, attached.messages, attached.state) == (0, 0, [], [])
        actor.result(Unsubscribe(actor.request(), number))
    attach(actor, number)
    say(agent, number, opened("a"))
    assert briefs(actor.records(1)) == [(1, Op.OPEN, b"a")]


def test_the_largest_state_and_the_most_open_messages_fit_into_a_frame(staged: Staged) -> None:
    stage = staged()
    agent = stage.client("a" * 128)
    number = agent.open("room").number
    say(agent, number, *[opened() for _ in range(OPEN_MESSAGES_MAX)])
    value = "v" * (STATE_BYTES_MAX // STATE_KEYS_MAX - STATE_KEY_BYTES_MAX)
    for at in range(STATE_KEYS_MAX):
        say(agent, number, put(f"{at:04}".ljust(STATE_KEY_BYTES_MAX, "k"), value))
    actor = reader(stage)
    attached = attach(actor, number, start="latest")
    assert len(attached.state) == STATE_KEYS_MAX and len(attached.messages) == OPEN_MESSAGES_MAX
    assert len(encode(attached)) <= FRAME_BYTES_MAX
    assert len(actor.result(State(actor.request(), "room"))["state"]) == STATE_KEYS_MAX


def test_nobody_is_told_of_what_is_not_on_disk(stage: Stage) -> None:
    agent, number = begun(stage, opened("a"))
    actor = reader(stage)
    stage.log.hold()
    agent.send(saying(agent, number, grown(1, "b"), put("key", "v")))
    stage.hold_in_commit()
    actor.send(
        Attach(actor.request(), number, 1 << 20, start="latest", presence=False),
        Message(actor.request(), number, 1),
        State(actor.request(), "room"),
    )
    stage.turn()
    assert actor.silent
    stage.log.go_on()
    attached = actor.expect(Attached)
    assert attached.through == 3 and len(attached.state) == 1
    assert actor.expect(Reply).result["last"] == 3
    assert briefs(actor.expect(Page).batches) == [(2, Op.FOLDED, b"ab")]


# --- the one subscription ---------------------------------------------------------------------------------


def test_it_is_the_connections_subscription(stage: Stage) -> None:
    _, number = begun(stage, *TALK)
    actor = reader(stage)
    attach(actor, number, start="latest")
    for frame in (Subscribe(90, number, 1, after=0), Attach(91, number, 1, after=0)):
        actor.refused(frame, ErrorCode.ALREADY_SUBSCRIBED)
    actor.result(Unsubscribe(92, number))
    attach(actor, number, start="latest")


def test_one_that_ended_before_it_began_does_not_end_the_next(staged: Staged) -> None:
    """The first is still being looked for when the second begins, and meets damage then."""
    stage = staged(Torn(), journal_age_ms=0)
    agent, number = begun(stage, plain("a"))
    stage.settle("room")
    actor = reader(stage)
    stage.log.hold_reads()
    actor.send(Attach(1, number, 1 << 20, last=5, presence=False))
    stage.turn()
    actor.send(Unsubscribe(2, number))
    actor.expect(Reply)
    actor.send(Attach(3, number, 1 << 20, start="latest", presence=False))
    assert actor.expect(Attached).request == 3
    stage.log.go_on_reading()
    assert actor.expect(Error).request == 1
    actor.refused(Subscribe(4, number, 1, after=0), ErrorCode.ALREADY_SUBSCRIBED)
    say(agent, number, plain("b"))
    assert briefs(actor.records(2)) == [(2, None, b"b")]


class Torn(MemoryLog):
    """A log that cannot be read backwards."""

    def read_back(self, number: int, offset: int) -> Any:
        raise Damaged(f"a chunk of channel number {number} fails its checksum")


def test_a_live_reader_keeps_nothing_of_what_it_attached_to(stage: Stage) -> None:
    agent, number = begun(stage, opened("a" * 1_000))
    actor = reader(stage)
    for start in ("earliest", "latest"):
        attach(actor, number, start=start)
        if start == "earliest":
            actor.records(1)
        stage.turn()
        subscription = actor.connection.subscriptions[number]
        assert subscription.live and subscription.snapshot is None
        actor.result(Unsubscribe(actor.request(), number))


# --- a reader that takes its time -------------------------------------------------------------------------


def test_a_slow_reader_is_given_what_was_when_it_attached(staged: Staged, time: Time) -> None:
    """One frame at a time, while everything goes on: closed, changed, folded in the store."""
    stage = staged(journal_bytes=1, journal_age_ms=0, fold_after_ms=1_000)
    agent, number = begun(stage, plain("a"), opened("b"), plain("c" * 40_000), grown(2, "d"), plain("e" * 40_000))
    actor = reader(stage)
    attach(actor, number, credit=1)
    assert briefs(actor.expect(Deliver).batches)[0] == (1, None, b"a")
    say(agent, number, closed(2))
    stage.settle("room")
    for _ in range(3):
        time.advance(1_000)
        stage.tick()
    records = []
    while not records or records[-1].offset < 6:
        actor.send(Credit(number, 50_000))
        records += read_records(actor.expect(Deliver).batches)
        stage.turn()
    kinds = [(each.offset, each.op) for each in briefs(records)]
    assert [offset for offset, op in kinds if op is None and offset > 1] == [3, 5]
    assert (6, Op.FOLDED) in kinds and (4, Op.FOLDED) not in kinds, "it went on: it is given where it is folded"
    assert records[-1].data == b"bd"


def test_what_loses_its_beginning_while_it_is_read_is_given_as_it_lies_there(staged: Staged) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0, contents_bytes=0)
    agent, number = begun(stage, opened("a" * 3_000))
    stage.settle("room")
    for _ in range(4):
        say(agent, number, grown(1, "b" * 3_000))
        stage.settle("room")
    actor = reader(stage)
    stage.log.hold_reads()
    actor.send(Attach(1, number, 1 << 20, after=3, presence=False))
    assert actor.expect(Attached).messages == [1]
    stage.until(stage.log.reading.is_set)
    agent.result(Truncate(agent.request(), "room", 3))
    stage.idle()
    stage.log.go_on_reading()
    assert [(each.offset, each.op) for each in briefs(actor.records(5))] == [(4, Op.APPEND), (5, Op.APPEND)]
    unknown(actor, number, 1)


def test_retention_while_the_last_so_many_are_looked_for(staged: Staged) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0)
    agent, number = begun(stage)
    for _ in range(5):
        say(agent, number, plain("x" * 3_000))
        stage.settle("room")
    actor = reader(stage)
    stage.log.hold_reads()
    actor.send(Attach(1, number, 1 << 20, last=4, presence=False))
    stage.until(stage.log.reading.is_set)
    agent.result(Truncate(agent.request(), "room", 4))
    stage.idle()
    stage.log.go_on_reading()
    attached = actor.expect(Attached)
    assert (attached.after, attached.resync) == (3, None), "there were not more, and none was passed over"
    assert [each.offset for each in briefs(actor.records(5))] == [4, 5]


@pytest.mark.parametrize("raw", [True, False])
def test_a_missing_record_is_said(staged: Staged, raw: bool) -> None:
    stage = staged(Missing(), journal_bytes=1, journal_age_ms=0)
    agent, number = begun(stage)
    for _ in range(3):
        say(agent, number, plain("x" * 3_000))
        stage.settle("room")
    actor = reader(stage)
    attach(actor, number, raw=raw)
    assert actor.expect(Error).code == ErrorCode.DAMAGED


class Missing(MemoryLog):
    """A log that has lost its first chunk."""

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        return [each for each in super().read(number, offset, bytes_max) if each.first > 1]


def test_after_a_start_a_message_is_put_together_once_for_all_who_come(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0)
    agent, number = begun(stage, opened("a"), *[grown(1, "b")] * 20)
    stage.settle("room")
    stage = staged(stage.crash(), journal_age_ms=10**9)
    assemble, put_together = folded.assemble, []
    monkeypatch.setattr(folded, "assemble", lambda *args: put_together.append(args) or assemble(*args))
    agent = stage.client("agent")
    agent.open("room")
    for at in range(5):
        actor = reader(stage, f"reader{at}")
        attach(actor, number)
        assert actor.records(21 + at)[-1].data == b"a" + b"b" * 20 + b"c" * at
        assert message(actor, number, 1).data == b"a" + b"b" * 20 + b"c" * at
        say(agent, number, grown(1, "c"))
    assert len(put_together) == 1


# --- many, large, long ------------------------------------------------------------------------------------


def test_frames_are_no_larger_than_a_frame_may_be(staged: Staged) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0)
    agent, number = begun(stage, opened("x" * 999_900), opened("y" * 999_900), plain("z" * 1_000_000))
    say_each(agent, number, grown(1, "!"), grown(2, "!"))
    actor = reader(stage)
    attach(actor, number)
    frames = [actor.expect(Deliver)]
    while max(span.last for span in spans(frames[-1].batches)) < 5:
        frames.append(actor.expect(Deliver))
    assert max(len(encode(frame)) for frame in frames) <= FRAME_BYTES_MAX
    assert [len(each.data) for frame in frames for each in briefs(frame.batches)] == [1_000_000, 999_901, 999_901]


def test_what_streams_is_passed_over_and_what_lies_behind_is_met(staged: Staged) -> None:
    """More tokens than a slice holds, with something else behind them."""
    stage = staged()
    agent, number = begun(stage, opened("x"))
    say_each(agent, number, *[grown(1, "tok ")] * 5_000)
    say_each(agent, number, plain("end"), grown(1, "!"))
    actor = reader(stage)
    attach(actor, number, last=2)
    assert [(each.offset, each.op) for each in briefs(actor.records(5_003))] == [(5_002, None), (5_003, Op.FOLDED)]
    answer = page(actor, number, start="earliest", fold=True)
    assert [each.offset for each in briefs(answer.batches)] == [5_002, 5_003]


def test_large_batches_that_do_not_fill_a_slice(staged: Staged) -> None:
    stage = staged()
    _, number = begun(stage, *[plain("x" * 100_000)] * 5)
    actor = reader(stage)
    attach(actor, number)
    assert [each.offset for each in briefs(actor.records(5))] == [1, 2, 3, 4, 5]


# --- MESSAGE ----------------------------------------------------------------------------------------------


def test_one_message_as_of_its_place(staged: Staged) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0)
    agent, number = begun(stage, opened("a", "name", {"k": "v"}), plain("x"), grown(1, "b"))
    found = message(agent, number, 1)
    assert (found.offset, found.data, found.name, found.headers) == (3, b"ab", "name", {"k": "v"})
    say(agent, number, closed(1, MessageState.ERROR, "why"))
    stage.settle("room")
    found = message(agent, number, 1)
    assert found.operation is not None
    assert (found.offset, found.operation.state, found.operation.reason) == (4, MessageState.ERROR, "why")
    for nothing in (0, 2, 3, 99, 2**63 - 1):
        unknown(agent, number, nothing)


def test_a_message_that_is_folded_further_along_meanwhile_is_found_there(
    staged: Staged, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(journal_bytes=1, journal_age_ms=0, fold_after_ms=1_000, contents_bytes=0)
    agent, number = begun(stage, opened("a"), closed(1))
    stage.settle("room")
    actor = reader(stage)
    content_of, asked = folded.content_of, []

    def gone_on_at_first(*args: Any) -> bytes | None:
        asked.append(content_of(*args))
        return None if len(asked) == 1 else asked[-1]

    monkeypatch.setattr(folded, "content_of", gone_on_at_first)
    stage.log.hold_reads()
    actor.send(Message(1, number, 1))
    stage.turn()
    say(agent, number, replaced(1, "new"))
    stage.log.go_on_reading()
    assert briefs(actor.expect(Page).batches) == [(3, Op.FOLDED, b"new")]


def test_a_message_that_is_not_as_it_was_left_is_damage_and_not_asked_for_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, number = begun(stage, opened("a"))
    monkeypatch.setattr(folded, "content_of", lambda *args: None)
    agent.send(Message(agent.request(), number, 1))
    assert agent.expect(Error).code == ErrorCode.DAMAGED


def test_many_who_ask_for_messages_are_answered_in_turn(stage: Stage) -> None:
    agent, number = begun(stage, opened("a"))
    agent.send(*[Message(100 + at, number, 1) for at in range(50)])
    assert [agent.expect(Page).request for _ in range(50)] == list(range(100, 150))


def test_a_refused_batch_changes_nothing(stage: Stage) -> None:
    agent, number = begun(stage, opened("a"))
    agent.send(saying(agent, number, grown(1, "b"), grown(99, "c")))
    assert agent.expect(Error).code == ErrorCode.UNKNOWN_MESSAGE
    agent.send(saying(agent, number, put("key", "v"), put("key", "w", version=9)))
    assert agent.expect(Error).code == ErrorCode.VERSION_MISMATCH
    assert say(agent, number, plain("next")) == 2
    assert message(agent, number, 1).data == b"a"
    assert agent.result(State(agent.request(), "room"))["state"] == []
