"""When the store is folded and swept (PROTOCOL.md 4.7, 4.8), on a stage whose clock is told."""

from __future__ import annotations

from typing import Any

import pytest
from outlast_broker import folding, rewriting
from outlast_broker.chunk import HEAD_BYTES
from outlast_broker.memory_log import MemoryLog
from outlast_broker.session import FOLDED_ROW, MESSAGE_ROW
from outlast_protocol.frames import Configure, Delete, Deliver, Truncate
from outlast_protocol.operations import MessageState, Op

from tests.broker.growing import (
    Row,
    attach,
    briefs,
    check_dense,
    closed,
    grown,
    message,
    opened,
    page,
    plain,
    put,
    removed,
    replaced,
    say_each,
    unknown,
)  # fmt: skip
from tests.broker.room import FOLD_AFTER_MS, Room
from tests.broker.stage import Time
from tests.broker.test_feeder import Staged


@pytest.fixture
def room(staged: Staged, time: Time) -> Room:
    return Room(staged, time)


# --- when -------------------------------------------------------------------------------------------------


def test_a_closed_message_is_folded_once_it_is_cold(room: Room) -> None:
    room.say(opened("a"))
    room.say(closed(1))
    room.settle()
    room.time.advance(FOLD_AFTER_MS - 1)
    room.stage.tick()
    room.stage.idle()
    assert [each.op for each in briefs(room.chunks)] == [Op.OPEN, Op.CLOSE]
    room.time.advance(1)
    room.fold()
    assert briefs(room.chunks) == [(2, Op.FOLDED, b"a")]
    assert (room.rows(MESSAGE_ROW), room.rows(FOLDED_ROW)) == (0, 1)
    assert not room.session.accepted.messages and not room.session.content
    room.check_bytes()


def test_an_open_message_is_never_folded(room: Room) -> None:
    room.say(opened("a"))
    room.say(grown(1, "b"))
    room.settle()
    room.tick(5)
    assert [each.op for each in briefs(room.chunks)] == [Op.OPEN, Op.APPEND]


def test_what_lies_in_the_journal_waits(staged: Staged, time: Time) -> None:
    room = Room(staged, time, journal_bytes=1 << 30, journal_age_ms=10**9)
    room.say(opened("a"), closed(1))
    room.tick(5)
    assert 1 in room.session.durable.messages and room.chunks == b""


def test_ten_thousand_tokens_cost_little_more_than_their_text(room: Room) -> None:
    """PROTOCOL.md 4.7: 1.2 times the text and 200 bytes; who attaches is given one record."""
    room.say(opened(""))
    say_each(room.agent, room.number, *[grown(1, "to ")] * 10_000)
    room.say(closed(1))
    room.settle()
    before = len(room.chunks)
    room.fold()
    assert before > 15 * 30_000
    assert room.stage.channel("room").stored_bytes <= 1.2 * 30_000 + 200
    room.check_bytes()
    reader = room.stage.client("reader")
    reader.open("room")
    attach(reader, room.number)
    [record] = reader.records(10_002)
    assert record.data == b"to " * 10_000


def test_many_messages_are_folded_at_once(room: Room) -> None:
    for at in range(50):
        room.say(opened(f"m{at}"), plain("x"), grown(3 * at + at + 1, "!"), closed(3 * at + at + 1))
    room.settle()
    room.tick(2)
    assert not room.session.durable.messages
    assert len(briefs(room.chunks)) == 100
    for at in range(50):
        assert message(room.agent, room.number, 4 * at + 1).data == b"m%d!" % at


# --- what a reader notices of it --------------------------------------------------------------------------


def test_who_resumes_inside_of_a_message_is_given_all_of_it_and_told_so(room: Room) -> None:
    room.say(plain("before"))
    room.say(opened("a"))
    for _ in range(5):
        room.say(grown(2, "b"))
    room.say(closed(2, MessageState.CANCELLED, "why"))
    room.say(plain("behind"))
    room.settle()
    room.fold()
    for raw in (True, False):
        reader = room.stage.client("reader")
        reader.open("room")
        attach(reader, room.number, raw=raw, after=4)
        record, behind = [each for each in reader.records(9) if each.offset > 4]
        assert record.offset == 8 and record.data == b"abbbbb" and behind.data == b"behind"
        assert record.operation is not None
        operation = record.operation
        assert (operation.op, operation.message) == (Op.FOLDED, 2)
        assert (operation.state, operation.reason) == (MessageState.CANCELLED, "why")


def test_history_is_dense_over_what_was_folded(room: Room) -> None:
    for at in range(5):
        room.say(opened("a"), plain("x"), closed(3 * at + 1))
    room.settle()
    room.fold()
    answer = page(room.agent, room.number, start="earliest")
    check_dense(answer.batches, 1, 15)
    assert (answer.low, answer.high) == (1, 15)


# --- what is changed meanwhile, or afterwards -------------------------------------------------------------


@pytest.mark.parametrize("what", [replaced(1, "new"), removed(1)])
def test_what_is_changed_afterwards_is_folded_again(room: Room, what: Row) -> None:
    room.say(opened("old", "name"), closed(1))
    room.settle()
    room.fold()
    at = room.say(what)
    left = what[1]
    assert message(room.agent, room.number, 1).data == left
    room.settle()
    room.fold()
    assert briefs(room.chunks) == [(at, Op.FOLDED, left)]
    found = message(room.agent, room.number, 1)
    assert (found.data, found.name) == (left, "name")
    assert (room.rows(MESSAGE_ROW), room.rows(FOLDED_ROW)) == (0, 1)


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_changed_while_it_is_folded_keeps_both(room: Room, on_disk: bool) -> None:
    room.say(opened("old"), closed(1))
    room.settle()
    room.time.advance(FOLD_AFTER_MS)
    room.stage.log.hold_reads()
    room.stage.call(lambda: room.stage.engine.tick(room.time.ms))
    if on_disk:
        room.stage.log.go_on_reading()
        room.stage.log.hold()
        room.stage.hold_in_commit()
        room.stage.log.go_on()
    at = room.say(replaced(1, "new"))
    room.stage.log.go_on_reading()
    room.stage.idle()
    assert message(room.agent, room.number, 1).data == b"new"
    room.crash()
    assert message(room.agent, room.number, 1).data == b"new"
    room.settle()
    room.fold()
    assert briefs(room.chunks) == [(at, Op.FOLDED, b"new")]


# --- a piece at a time ------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "PIECE_BYTES", 3_000)


def long_message(room: Room, appends: int = 20) -> int:
    """A message that is longer than a few pieces; returns where it is closed."""
    first = room.say(opened("a"))
    for _ in range(appends):
        room.say(grown(first, "b" * 700))
        room.settle()
    return room.say(closed(first))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("crash_after", range(1, 9))
def test_a_crash_between_the_pieces_loses_nothing(room: Room, crash_after: int) -> None:
    room.say(plain("before"))
    long_message(room)
    room.say(plain("behind"))
    room.settle()
    room.tick(crash_after)
    room.crash()
    content = b"a" + b"b" * 14_000
    assert message(room.agent, room.number, 2).data == content
    reader = room.stage.client("reader")
    reader.open("room")
    attach(reader, room.number)
    assert [each.data for each in reader.records(24)] == [b"before", content, b"behind"]
    room.fold()
    assert briefs(room.chunks) == [(1, None, b"before"), (23, Op.FOLDED, content), (24, None, b"behind")]
    room.check_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_those_who_become_ripe_later_hold_nobody_up(room: Room) -> None:
    """A descent that always began anew at the latest place would never reach the beginning of a long message."""
    last = long_message(room)
    room.settle()
    for _ in range(25):
        first = room.say(opened("x" * 2_500))
        room.say(closed(first))
        room.settle()
        room.tick()
    assert 1 not in room.session.durable.messages
    assert (last, Op.FOLDED) in [(each.offset, each.op) for each in briefs(room.chunks)]
    assert message(room.agent, room.number, 1).data == b"a" + b"b" * 14_000


@pytest.mark.usefixtures("small_pieces")
def test_one_that_goes_on_between_the_pieces_is_folded_where_it_then_is(room: Room) -> None:
    long_message(room)
    room.settle()
    room.tick(2)
    at = room.say(replaced(1, "new"))
    room.settle()
    room.fold()
    room.tick(5)
    assert briefs(room.chunks) == [(at, Op.FOLDED, b"new")]


# --- retention --------------------------------------------------------------------------------------------


def truncate(room: Room, before: int) -> None:
    room.agent.result(Truncate(room.agent.request(), "room", before))


def test_what_retention_took_whole_is_forgotten(room: Room) -> None:
    room.say(opened("a"), closed(1))
    room.settle()
    room.say(plain("x" * 40_000))
    room.settle()
    truncate(room, 3)
    room.tick(3)
    assert not room.session.durable.messages and not room.session.content and room.rows(MESSAGE_ROW) == 0
    unknown(room.agent, room.number, 1)


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_lost_its_beginning_is_folded_if_it_is_in_memory(staged: Staged, time: Time, in_memory: bool) -> None:
    room = Room(staged, time, contents_bytes=(1 << 20) * in_memory)
    long_message(room, 5)
    room.settle()
    truncate(room, 4)
    room.fold()
    if in_memory:
        assert message(room.agent, room.number, 1).data == b"a" + b"b" * 3_500
        assert room.rows(FOLDED_ROW) == 1
    else:
        unknown(room.agent, room.number, 1)
        assert Op.CLOSE in [each.op for each in briefs(room.chunks)], "it is read as it lies there"
    assert room.rows(MESSAGE_ROW) == 0


@pytest.mark.usefixtures("small_pieces")
def test_retention_between_the_pieces(room: Room) -> None:
    long_message(room)
    room.settle()
    room.tick(2)
    truncate(room, 15)
    room.fold()
    assert message(room.agent, room.number, 1).data == b"a" + b"b" * 14_000
    room.tick(2)
    room.check_bytes()


def test_a_message_that_was_folded_twice_outlives_its_first_place(room: Room) -> None:
    room.say(opened("old"), closed(1))
    room.settle()
    room.fold()
    at = room.say(replaced(1, "new"))
    room.settle()
    truncate(room, at)
    room.fold()
    room.tick(3)
    assert message(room.agent, room.number, 1).data == b"new"


def test_rows_of_messages_past_retention_go_with_later_folds(room: Room) -> None:
    for at in range(3):
        room.say(opened("a"), closed(2 * at + 1))
        room.settle()
        room.fold()
    assert room.rows(FOLDED_ROW) == 3
    truncate(room, 5)
    unknown(room.agent, room.number, 1)
    first = room.say(opened("b"))
    room.say(closed(first))
    room.settle()
    room.fold()
    assert room.rows(FOLDED_ROW) == 2


@pytest.mark.parametrize("rewritten", [True, False])
def test_after_a_start_a_message_goes_on_whose_folded_record_is_past_retention(room: Room, rewritten: bool) -> None:
    """Only the journal knows that it went on; a broker that did not believe it could not start."""
    room.say(opened("old"), closed(1))
    room.settle()
    room.fold()
    other = room.say(opened("other"), closed(3))
    room.settle()
    room.settings |= {"journal_bytes": 1 << 30, "journal_age_ms": 10**9}
    room.crash()
    at = room.say(replaced(1, "new"))
    truncate(room, other)
    if rewritten:
        room.tick(3)
        assert not room.session.find(other, 1) or other not in room.session.durable.messages
    truncate(room, at)
    room.crash()
    assert message(room.agent, room.number, 1).data == b"new"


def test_bytes_are_counted_right_when_retention_and_folding_meet(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(10):
        first = room.say(opened("a" * 3_000))
        room.say(closed(first))
        room.settle()
    commit, channel = folding.Folding._commit, room.stage.channel("room")
    cuts = [7]

    def commit_and_truncate(self: Any, *args: Any) -> None:
        commit(self, *args)
        if cuts:
            room.stage.engine.truncate(channel, cuts.pop())

    monkeypatch.setattr(folding.Folding, "_commit", commit_and_truncate)
    room.fold()
    room.tick(2)
    assert not cuts
    room.check_bytes()
    assert message(room.agent, room.number, 7).data == b"a" * 3_000
    unknown(room.agent, room.number, 5)


def test_age_and_bytes_still_bound_a_channel_that_is_folded(room: Room) -> None:
    room.agent.result(Configure(room.agent.request(), "room", {"bytes": 20_000}))
    for _ in range(30):
        first = room.say(opened("a" * 3_000))
        room.say(closed(first))
        room.settle()
        room.tick()
    room.tick(3)
    assert 20_000 <= room.stage.channel("room").stored_bytes <= 20_000 + 33_000 + HEAD_BYTES
    room.check_bytes()


# --- leaving the memory -----------------------------------------------------------------------------------


def test_a_channel_stays_in_memory_while_it_is_folded(room: Room) -> None:
    """A second life of it in memory would not know of the chunks that are being written."""
    room.say(opened("a"), closed(1))
    room.settle()
    room.agent.leave()
    channel = room.stage.channel("room")
    room.time.advance(FOLD_AFTER_MS)
    room.stage.log.hold_reads()
    room.stage.call(lambda: room.stage.engine.tick(room.time.ms))
    for _ in range(3):
        room.stage.call(lambda: room.stage.engine.tick(room.time.ms))
    assert room.stage.channel("room") is channel
    room.stage.log.go_on_reading()
    room.fold()
    room.tick(3)
    assert room.stage.channel("room") is not channel, "nothing is left to do"


def test_what_was_to_be_folded_when_the_broker_ended_is_folded_by_the_next_one(room: Room) -> None:
    """Though nobody opens the channel."""
    room.say(opened("a"), closed(1))
    room.say(plain("over", ttl_ms=5))
    room.settle()
    left = room.stage.crash()
    stage = room.staged(left, **room.settings)
    for _ in range(5):
        room.time.advance(FOLD_AFTER_MS)
        stage.tick()
    run = b"".join(each.batches for each in left.read(room.number, 1, 1 << 30))
    assert briefs(run) == [(2, Op.FOLDED, b"a")]


@pytest.mark.parametrize("closed_one", [True, False])
def test_a_channel_is_looked_at_again_when_there_is_something_to_do(room: Room, closed_one: bool) -> None:
    """A record that lives for days asks for nothing until then."""
    room.say(plain("x", ttl_ms=10**9))
    if closed_one:
        room.say(opened("a"), closed(2))
    room.settle()
    room.stage.idle()
    later_ms = room.stage.channel("room").due_ms - room.time.ms
    assert later_ms == (FOLD_AFTER_MS if closed_one else 10**9)


def test_a_deleted_channel_is_not_folded(room: Room) -> None:
    room.say(opened("a"), closed(1))
    room.settle()
    room.time.advance(FOLD_AFTER_MS)
    room.stage.log.hold_reads()
    room.stage.call(lambda: room.stage.engine.tick(room.time.ms))
    room.agent.result(Delete(room.agent.request(), "room"))
    room.stage.log.go_on_reading()
    room.tick(3)
    assert room.stage.log.kept.read(room.number, 1, 1 << 30) == []
    assert room.stage.log.kept.rows(room.number, b"") == {}


# --- damage -----------------------------------------------------------------------------------------------


class Torn(MemoryLog):
    """A log whose chunks cannot be read backwards once it is torn."""

    torn = False

    def read_back(self, number: int, offset: int) -> Any:
        return None if self.torn else super().read_back(number, offset)


def test_what_is_damaged_is_left_as_it_is(staged: Staged, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    log = Torn()
    room = Room(staged, time, log)
    room.say(opened("a"), closed(1))
    room.settle()
    log.torn = True
    room.tick(5)
    assert caplog.text.count("not_folded") == 1, "it is said once, and not tried again until something happens"
    log.torn = False
    room.say(put("key"))
    room.fold()


# --- times to live ----------------------------------------------------------------------------------------


def test_what_is_over_leaves_the_store(room: Room) -> None:
    room.say(plain("a", ttl_ms=3_000), plain("b"))
    room.say(plain("c", ttl_ms=60_000))
    room.settle()
    room.time.advance(2_999)
    room.stage.tick()
    assert len(briefs(room.chunks)) == 3
    room.time.advance(1)
    room.stage.tick()
    room.stage.idle()
    room.tick()
    assert [each.data for each in briefs(room.chunks)] == [b"b", b"c"]
    check_dense(room.chunks, 1, 3)
    assert room.stage.channel("room").perishable
    room.time.advance(60_000)
    room.tick(3)
    assert [each.data for each in briefs(room.chunks)] == [b"b"]
    assert not room.stage.channel("room").perishable
    room.check_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_a_sweep_and_a_descent_take_turns(room: Room) -> None:
    for _ in range(20):
        room.say(plain("x" * 700, ttl_ms=100))
        room.settle()
    long_message(room)
    room.settle()
    room.tick(4)
    left = briefs(room.chunks)
    assert sum(each.op is None for each in left) < 20 and Op.FOLDED in [each.op for each in left]
    room.fold()
    room.tick(10)
    assert [each.op for each in briefs(room.chunks)] == [Op.FOLDED]


@pytest.mark.parametrize("before", [3, 4])
def test_a_sweep_ends_where_retention_has_left_nothing(room: Room, before: int) -> None:
    room.say(plain("a", ttl_ms=5), plain("b"))
    room.settle()
    if before == 4:
        room.say(plain("c"))
        room.settle()
    truncate(room, before)
    room.tick(3)
    assert not room.stage.channel("room").perishable


def test_what_still_lies_in_the_journal_is_not_taken_for_swept(staged: Staged, time: Time) -> None:
    room = Room(staged, time)
    room.say(plain("a", ttl_ms=5))
    room.settle()
    room.stage.engine.settling._limit_age_ms = room.stage.engine.settling._limit_bytes = 10**12
    room.say(plain("b", ttl_ms=5))
    room.tick(5)
    assert room.stage.channel("room").tail and room.stage.channel("room").perishable
    assert briefs(page(room.agent, room.number, start="earliest").batches) == []


def test_nobody_is_given_what_is_over_until_the_store_has_forgotten_it(room: Room) -> None:
    """The sweep is on its way to disk."""
    room.say(plain("a", ttl_ms=5), plain("b"))
    room.settle()
    room.time.advance(FOLD_AFTER_MS)
    channel = room.stage.channel("room")
    room.stage.log.hold_reads()
    room.stage.call(lambda: room.stage.engine.tick(room.time.ms))
    room.stage.log.hold()
    room.stage.log.go_on_reading()
    room.stage.until(room.stage.log.committing.is_set)
    reader = room.stage.client("reader")
    reader.connection.channels[channel.number] = channel
    channel.entered()
    reader.subscribe(channel.number)
    assert [each.data for each in reader.records(2)] == [b"b"]
    room.stage.log.go_on()
    room.stage.idle()
    assert not channel.perishable


def test_state_and_everything_else_is_where_it_was(room: Room) -> None:
    room.say(put("key", "value"), plain("a", ttl_ms=5), opened("b"), closed(3))
    room.settle()
    room.tick(5)
    assert [each.op for each in briefs(room.chunks)] == [Op.SET, Op.FOLDED]
    reader = room.stage.client("reader")
    reader.open("room")
    attached = attach(reader, room.number)
    assert [row[0] for row in attached.state] == ["key"]
    assert [each.offset for each in briefs(reader.expect(Deliver).batches)] == [1, 4]
