"""PROTOCOL.md 4.5 and the rows beside the log. What operations do to the state is test_state.py's."""

from __future__ import annotations

from typing import Any

import pytest
from outlast_broker.session import (
    ENTRY_ROW,
    MESSAGE_ROW,
    THROUGH_ROW,
    Author,
    Contents,
    Growing,
    message_key,
    unpack_growing,
)
from outlast_broker.stretches import OFFSETS_MIN
from outlast_protocol import ErrorCode
from outlast_protocol.batch import encode_labelled, read_records
from outlast_protocol.limits import MESSAGE_BYTES_MAX, OPEN_MESSAGES_MAX, REASON_BYTES_MAX
from outlast_protocol.operations import MessageState, Op, Operation

from tests.broker.growing import (
    Alone,
    Row,
    batch,
    closed,
    folded,
    grown,
    opened,
    plain,
    put,
    removed,
    reopened,
    replaced,
    row,
)
from tests.broker.logs import BIRTH_MS

LONG = OFFSETS_MIN
COMPLETE, INTERRUPTED, OPEN = MessageState.COMPLETE, MessageState.INTERRUPTED, MessageState.OPEN


def told(alone: Alone, message: int) -> Growing:
    return alone.session.durable.messages[message]


# --- what a message is ------------------------------------------------------------------------------------


def test_a_message_is_named_by_the_offset_that_opened_it() -> None:
    alone = Alone()
    alone.say(plain("before"), opened("He", "name", {"k": "v"}), grown(2, "llo"))
    growing = told(alone, 2)
    assert (growing.message, growing.client, growing.place, growing.base, growing.lies_from) == (2, "agent", 3, 2, 2)
    assert (growing.state, growing.name, growing.headers) == (OPEN, "name", {"k": "v"})
    assert growing.size == len("Hello") + len("name") + len("kv")
    assert alone.session.content[2] == b"Hello"


def test_it_grows_is_closed_and_changed() -> None:
    alone = Alone()
    alone.say(opened("a"))
    alone.say(closed(1, MessageState.ERROR, "why"), time_ms=BIRTH_MS + 5)
    assert (told(alone, 1).state, told(alone, 1).reason, told(alone, 1).time_ms) == (
        MessageState.ERROR,
        "why",
        BIRTH_MS + 5,
    )
    alone.say(replaced(1, "other"))
    assert (told(alone, 1).state, told(alone, 1).reason, told(alone, 1).base) == (MessageState.ERROR, "why", 3)
    assert alone.session.content[1] == b"other"
    alone.say(removed(1))
    assert (told(alone, 1).state, told(alone, 1).reason, told(alone, 1).size) == (MessageState.REMOVED, "", 0)
    assert alone.session.content[1] == b"" and told(alone, 1).lies_from == 1


def test_an_interrupted_one_is_open_again() -> None:
    alone = Alone()
    alone.say(opened("a"))
    alone.say(closed(1, INTERRUPTED), author="")
    assert told(alone, 1).state is INTERRUPTED
    alone.say(reopened(1), grown(1, "b"))
    assert told(alone, 1).state is OPEN and alone.session.content[1] == b"ab"


ALLOWED: dict[str, set[MessageState]] = {
    "append": {OPEN},
    "close": {OPEN},
    "replace": set(MessageState) - {MessageState.REMOVED},
    "remove": set(MessageState) - {MessageState.REMOVED},
    "reopen": {INTERRUPTED},
}
ROWS: dict[str, Row] = {
    "append": grown(1, "x"),
    "close": closed(1),
    "replace": replaced(1, "x"),
    "remove": removed(1),
    "reopen": reopened(1),
}


def in_state(state: MessageState) -> Alone:
    alone = Alone()
    alone.say(opened("a"))
    if state is MessageState.REMOVED:
        alone.say(removed(1))
    elif state is not OPEN:
        alone.say(closed(1, state), author="")
    return alone


@pytest.mark.parametrize("state", MessageState)
@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_allowed_while_a_message_is_in_a_state(state: MessageState, what: str) -> None:
    """The table of PROTOCOL.md 4.5."""
    alone = in_state(state)
    if state in ALLOWED[what]:
        alone.say(ROWS[what])
    else:
        error = alone.refused(ROWS[what])
        assert error.code is ErrorCode.MESSAGE_CLOSED
        assert error.detail == {"message": 1, "state": state.name.lower()}


@pytest.mark.parametrize("offset", [1, 2, 99, 2**63 - 1])
def test_what_was_never_opened_is_unknown(offset: int) -> None:
    alone = Alone()
    alone.say(plain("x"), put("key"))
    error = alone.refused(grown(offset, "x"))
    assert (error.code, error.detail) == (ErrorCode.UNKNOWN_MESSAGE, {"message": offset})


def test_operations_of_one_batch_see_each_other() -> None:
    alone = Alone()
    alone.say(opened("a"), grown(1, "b"), closed(1), opened("c"), replaced(1, "d"))
    assert [(each.message, each.state, each.place) for each in alone.session.durable.messages.values()] == [
        (1, COMPLETE, 5), (4, OPEN, 4),
    ]  # fmt: skip
    assert alone.session.content == {1: b"d", 4: b"c"}


def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    alone = Alone()
    alone.say(opened("a"))
    before = (dict(alone.session.accepted.messages), alone.session.open_count)
    alone.refused(grown(1, "b"), opened("c"), grown(99, "d"))
    assert (alone.session.accepted.messages, alone.session.open_count) == before
    alone.say(grown(1, "e"))
    assert alone.session.content[1] == b"ae"


# --- whose it is ------------------------------------------------------------------------------------------


def test_a_message_belongs_to_its_client() -> None:
    alone = Alone()
    alone.say(opened("a"))
    error = alone.refused(grown(1, "b"), author="eve")
    assert (error.code, error.detail) == (ErrorCode.FOREIGN_MESSAGE, {"message": 1, "client": "agent"})


def test_a_message_belongs_to_its_lease() -> None:
    alone = Alone()
    alone.say(opened("a"), lease="writer")
    for lease in ("", "other"):
        error = alone.refused(grown(1, "b"), lease=lease)
        assert (error.code, error.detail) == (ErrorCode.FOREIGN_MESSAGE, {"message": 1, "lease": "writer"})
    alone.say(grown(1, "b"), author="another", lease="writer")
    assert alone.session.open_under("writer") == [1] and alone.session.open_under("other") == []


@pytest.mark.parametrize(
    "what", [closed(1, INTERRUPTED), folded(1, "x"), row(Operation(Op.LAPSED, lease="l", token=1))]
)
def test_what_only_the_broker_says(what: Row) -> None:
    alone = Alone()
    alone.say(opened("a"))
    assert alone.refused(what).code is ErrorCode.BAD_BATCH


# --- limits -----------------------------------------------------------------------------------------------


def test_a_message_has_so_many_bytes_with_name_and_headers() -> None:
    alone = Alone(contents_bytes=1 << 22)
    alone.say(opened(b"x" * (MESSAGE_BYTES_MAX - 7), "name", {"k": "vv"}))
    error = alone.refused(grown(1, "y"))
    assert (error.code, error.detail) == (
        ErrorCode.LIMIT_EXCEEDED,
        {"limit": "message_bytes", "value": MESSAGE_BYTES_MAX},
    )
    assert alone.refused(replaced(1, b"x" * (MESSAGE_BYTES_MAX - 6))).code is ErrorCode.LIMIT_EXCEEDED
    alone.say(replaced(1, b"x" * (MESSAGE_BYTES_MAX - 7)))
    assert alone.refused(opened(b"x" * MESSAGE_BYTES_MAX, "n")).code is ErrorCode.LIMIT_EXCEEDED


def test_a_channel_has_so_many_open_messages() -> None:
    alone = Alone()
    alone.say(*[opened("a")] * OPEN_MESSAGES_MAX)
    error = alone.refused(opened("b"))
    assert (error.code, error.detail) == (
        ErrorCode.LIMIT_EXCEEDED,
        {"limit": "open_messages", "value": OPEN_MESSAGES_MAX},
    )
    alone.say(closed(1), opened("b"))
    assert alone.refused(opened("c")).code is ErrorCode.LIMIT_EXCEEDED
    alone.say(removed(2), opened("c"))
    alone.say(closed(3, INTERRUPTED), author="")
    alone.say(opened("d"))
    assert alone.refused(reopened(3)).code is ErrorCode.LIMIT_EXCEEDED
    assert alone.session.open_count == OPEN_MESSAGES_MAX


def test_open_messages_are_counted_anew_from_the_rows() -> None:
    alone = Alone()
    alone.say(opened("a"), opened("b"), closed(1))
    again = Alone({key: value for key, value in alone.session.rows(3).items() if value is not None})
    assert again.session.open_count == 1


@pytest.mark.parametrize(
    "what",
    [
        ((0, None, (), Operation(Op.APPEND, 1), 0), b"x"),
        ((2, None, (), Operation(Op.OPEN), 0), b"{}"),
        ((1, "named", (), Operation(Op.APPEND, 1), 0), b"x"),
        ((1, None, (("k", "v"),), Operation(Op.CLOSE, 1, COMPLETE), 0), b""),
        row(Operation(Op.REMOVE, 1), "x"),
        closed(1, COMPLETE, "r" * (REASON_BYTES_MAX + 1)),
    ],
    ids=["another encoding", "json", "a name", "headers", "data", "a long reason"],
)  # fmt: skip
def test_what_an_operation_cannot_say(what: Row) -> None:
    alone = Alone()
    alone.say(opened("a"))
    assert alone.refused(what).code is ErrorCode.BAD_BATCH


def test_a_reason_that_is_no_text_is_read_as_well_as_it_can_be() -> None:
    alone = Alone()
    alone.say(opened("a"))
    alone.say(row(Operation(Op.CLOSE, 1, COMPLETE), b"\xff" * REASON_BYTES_MAX))
    assert told(alone, 1).reason == "\ufffd" * REASON_BYTES_MAX


# --- one piece, or each for itself ------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[grown(1, "b")], [grown(1, "b"), grown(1, ""), grown(1, "c")]])
def test_tokens_are_judged_together_as_each_would_be(rows: list[Row]) -> None:
    both = []
    for judge_batch in (True, False):
        alone = Alone()
        alone.say(opened("a"))
        bytes_of = encode_labelled("agent", rows)
        author, session = Author("agent"), alone.session
        if judge_batch:
            changes = session.judge_batch(bytes_of, author, 2, BIRTH_MS)
        else:
            changes = session.judge(read_records(bytes_of), author, 2, BIRTH_MS)
        session.accept(changes)
        session.release(changes.last)
        both.append((changes.last, changes.messages, session.durable.messages, session.content, changes.only_messages))
    assert both[0] == both[1]


@pytest.mark.parametrize("what", [grown(9, "x"), grown(1, b"x" * MESSAGE_BYTES_MAX)])
def test_tokens_are_refused_together_as_each_would_be(what: Row) -> None:
    alone = Alone()
    alone.say(opened("a"))
    codes = []
    for judge in (alone.session.judge_batch, lambda batch, *rest: alone.session.judge(read_records(batch), *rest)):
        with pytest.raises(Exception) as raised:
            judge(encode_labelled("agent", [what]), Author("agent"), 2, BIRTH_MS)
        codes.append(raised.value.args)
    assert codes[0] == codes[1]


# --- what is accepted, and what is on disk ----------------------------------------------------------------


def test_readers_are_told_of_what_is_on_disk() -> None:
    alone = Alone()
    alone.say(opened("a"))
    alone.say(grown(1, "b"), put("key", "v"), durable=False)
    alone.say(closed(1), durable=False)
    session = alone.session
    assert session.find(1, 1) is not None and session.accepted.messages[1].place == 4
    assert told(alone, 1).place == 1 and session.content[1] == b"a" and not session.durable.entries
    session.release(3)
    assert told(alone, 1).place == 2 and session.content[1] == b"ab" and "key" in session.durable.entries
    session.release(4)
    assert told(alone, 1).state is COMPLETE


# --- what the store holds folded --------------------------------------------------------------------------


def kept_folded(**changed: Any) -> Alone:
    """A session whose message 3 was folded at 8."""
    alone = Alone()
    alone.last = 10
    alone.folded[3] = Growing(3, "agent", "", 1, COMPLETE, 5, 8, BIRTH_MS, 3, 3)._replace(**changed)
    return alone


def test_a_folded_message_goes_on_from_its_record() -> None:
    alone = kept_folded()
    alone.say(replaced(3, "new"))
    growing = told(alone, 3)
    assert (growing.base, growing.lies_from, growing.place) == (11, 8, 11)
    assert alone.session.content[3] == b"new"


def test_what_it_grows_by_then_is_read_behind_that_record() -> None:
    alone = kept_folded(state=INTERRUPTED)
    alone.say(reopened(3), grown(3, "more"))
    growing = told(alone, 3)
    assert (growing.base, growing.lies_from, growing.place, growing.size) == (8, 8, 12, 9)
    assert 3 not in alone.session.content


def test_what_retention_has_passed_is_unknown() -> None:
    alone = kept_folded()
    assert alone.session.find(3, 8) is not None and alone.session.find(3, 9) is None
    with pytest.raises(Exception, match="no message was opened at offset 3"):
        alone.session.judge(read_records(batch(0, replaced(3, "x"))), Author("agent"), 11, BIRTH_MS, 9)


def test_after_a_start_the_journal_is_believed_whatever_retention_did_since() -> None:
    alone = kept_folded()
    alone.session.recover(read_records(batch(11, replaced(3, "new"))))
    assert told(alone, 3).place == 11


# --- rows -------------------------------------------------------------------------------------------------


def test_rows_bring_everything_back() -> None:
    alone = Alone()
    alone.say(
        opened("a", "name", {"k": "v"}), opened("b"), closed(2, COMPLETE, "done"), put("key", "value"), put("gone")
    )
    alone.say(row(Operation(Op.UNSET, key="gone")), plain("over", ttl_ms=5))
    rows = alone.session.rows(alone.last)
    again = Alone({key: value for key, value in rows.items() if value is not None}).session
    assert again.accepted.messages == again.durable.messages == alone.session.durable.messages
    assert again.accepted.entries == again.durable.entries == alone.session.durable.entries
    assert (again.totals, again.through, again.sweep.first) == (alone.session.totals, 7, 6)
    assert rows[ENTRY_ROW + b"gone"] is None


def test_only_what_has_changed_is_written_again() -> None:
    alone = Alone()
    alone.say(opened("a"), opened("b"), put("key"))
    assert set(alone.session.rows(3)) == {
        message_key(MESSAGE_ROW, 1), message_key(MESSAGE_ROW, 2), ENTRY_ROW + b"key", THROUGH_ROW,
    }  # fmt: skip
    assert alone.session.rows(3) == {} and not alone.session.unwritten
    alone.say(grown(2, "c"))
    assert alone.session.unwritten
    assert set(alone.session.rows(4)) == {message_key(MESSAGE_ROW, 2), THROUGH_ROW}


def test_a_growing_message_is_packed_whole() -> None:
    growing = Growing(3, "agent", "lease", 1, INTERRUPTED, 5, 8, BIRTH_MS, 3, 2, "why", "name", {"ä": "ö"})
    assert unpack_growing(growing.pack()) == growing


def test_what_is_in_the_rows_is_not_done_again() -> None:
    """The journal may still have what moved into chunks long ago."""
    alone = Alone()
    alone.say(opened("a"), row(Operation(Op.INCREMENT, key="n", by=1)))
    again = Alone({key: value for key, value in alone.session.rows(2).items() if value is not None}).session
    assert again.recover(read_records(batch(1, opened("a"), row(Operation(Op.INCREMENT, key="n", by=1))))) == 0
    assert again.recover(read_records(batch(3, grown(1, "b"), row(Operation(Op.INCREMENT, key="n", by=1))))) == 0
    assert again.durable.entries["n"].data == b"2" and again.durable.messages[1].place == 3


def test_a_recovered_batch_says_when_its_records_are_over() -> None:
    session = Alone().session
    over_ms = session.recover(read_records(batch(1, plain("x", ttl_ms=5), plain("y", ttl_ms=9), plain("z"))))
    assert over_ms == BIRTH_MS + 9 and session.sweep.first == 1


# --- folded in the store ----------------------------------------------------------------------------------


def test_what_was_folded_needs_no_memory() -> None:
    alone = Alone()
    alone.say(opened("a" * 100), closed(1))
    alone.session.was_folded(told(alone, 1))
    assert not alone.session.accepted.messages and not alone.session.durable.messages and not alone.session.content
    assert alone.contents.take(1 << 20), "all of it is free again"


def test_what_went_on_meanwhile_is_kept() -> None:
    alone = Alone()
    alone.say(opened("a"), closed(1))
    before = told(alone, 1)
    alone.say(replaced(1, "b"), durable=False)
    assert not alone.session.stands(before)
    alone.session.was_folded(before)
    alone.session.release(3)
    assert told(alone, 1).place == 3 and alone.session.content[1] == b"b"


# --- memory -----------------------------------------------------------------------------------------------


def free(contents: Contents) -> int:
    """How much of a bound of 1,000 is free."""
    size = next(size for size in range(1_000, -1, -1) if contents.take(size))
    contents.give_back(size)
    return size


def test_what_is_in_memory_is_counted_and_given_back() -> None:
    alone = Alone(contents_bytes=1_000)
    alone.say(opened("a" * 100), grown(1, "b" * 50), opened("c" * 200))
    assert free(alone.contents) == 650
    alone.say(replaced(1, "d" * 10))
    assert free(alone.contents) == 790
    alone.say(removed(3))
    assert free(alone.contents) == 990
    alone.session.give_up(told(alone, 1))
    assert free(alone.contents) == 1_000
    alone.say(opened("e" * 100))
    alone.session.close()
    assert free(alone.contents) == 1_000


def test_what_does_not_fit_is_not_in_memory_and_does_not_come_back_in_part() -> None:
    alone = Alone(contents_bytes=1_000)
    alone.say(opened("a" * 600), opened("b" * 300), grown(1, "c" * 200))
    assert set(alone.session.content) == {2} and free(alone.contents) == 700
    alone.say(grown(1, "d"))
    assert 1 not in alone.session.content
    alone.say(replaced(1, "e"))
    assert alone.session.content[1] == b"e"


def test_a_content_in_memory_counts_as_far_as_it_went_at_the_time() -> None:
    alone = Alone()
    alone.say(opened("a", "name"))
    then = alone.session.snapshot(1, alone.last)
    alone.say(grown(1, "b"))
    [(content, length)] = alone.session.contents_of(then.growing).values()
    assert bytes(content[:length]) == b"a"
    alone.say(replaced(1, "c"))
    assert alone.session.contents_of(then.growing) == {}, "what it held then is not in memory any more"


def test_a_snapshot_keeps_nothing_of_what_messages_hold() -> None:
    """A reader that does not read may keep one for as long as it likes."""
    alone = Alone()
    alone.say(opened(b"x" * 100_000))
    snapshot = alone.session.snapshot(1, 1)
    assert not any(isinstance(each, bytes | bytearray) for growing in snapshot.growing.values() for each in growing)


def test_what_was_put_together_for_one_reader_is_there_for_the_next() -> None:
    alone = Alone()
    alone.say(opened("a"), opened("b"))
    growing = dict(alone.session.durable.messages)
    alone.session.close()
    alone.say(grown(2, "c"))
    alone.session.learn(growing[1], b"a")
    alone.session.learn(growing[2], b"b")
    assert alone.session.content == {1: b"a"}, "something was done to the other one since"
    alone.say(grown(1, "d"))
    assert alone.session.content == {1: b"ad"}
    alone.session.learn(alone.session.durable.messages[1], b"ad")
    alone.session.close()
    assert alone.contents.take(1 << 20), "nothing was counted twice"


def test_what_is_learned_is_bounded_like_everything_in_memory() -> None:
    alone = Alone(contents_bytes=5)
    alone.say(opened("a" * 6))
    alone.session.learn(told(alone, 1), b"a" * 6)
    assert alone.session.content == {}


# --- stretches --------------------------------------------------------------------------------------------


def test_a_stretch_is_where_every_record_grows_a_message() -> None:
    alone = Alone()
    alone.say(opened("a"), *[grown(1, "x")] * LONG)
    alone.say(grown(1, "y"))
    alone.say(put("key"))
    alone.say(*[grown(1, "x")] * LONG)
    kept = alone.session.snapshot(1, alone.last).stretches
    assert [(each.first, each.last) for each in kept] == [(1, LONG + 2), (LONG + 4, 2 * LONG + 3)]
    alone.say(closed(1))
    alone.session.was_folded(told(alone, 1))
    kept = alone.session.snapshot(1, alone.last).stretches
    assert [(each.first, each.last) for each in kept] == [(1, LONG + 2)], "what lies in the last one is to be met"


def test_names_and_headers_are_counted_as_long_as_the_message_is_known() -> None:
    alone = Alone(contents_bytes=1_000)
    alone.say(opened("a" * 100, name="n" * 10, headers={"k" * 40: "v" * 50}))
    assert free(alone.contents) == 800
    alone.say(grown(1, "b"), closed(1))
    assert free(alone.contents) == 799, "they are counted once, and stay for as long as it is not folded"
    rows = alone.session.rows(alone.last)
    alone.session.give_up(told(alone, 1))
    assert free(alone.contents) == 1_000
    again = Alone({key: value for key, value in rows.items() if value is not None}, contents_bytes=1_000)
    assert free(again.contents) == 900, "also after a restart"
    again.session.close()
    assert free(again.contents) == 1_000


def test_names_and_headers_push_contents_out_and_have_a_bound_of_their_own() -> None:
    alone = Alone(contents_bytes=1_000)
    alone.say(opened("", headers={"k": "v" * 899}))
    alone.say(opened("a" * 200))
    assert set(alone.session.content) == {1} and free(alone.contents) == 100
    error = alone.refused(opened("", headers={"k": "v" * 100}))
    assert error.code is ErrorCode.RATE_LIMITED and error.detail["limit"] == "contents_bytes"
    alone.say(opened("", name="short"))
