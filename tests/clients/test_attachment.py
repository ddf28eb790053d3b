"""Attachments against a broker that does what the test says: what is known on entering, and what is told then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import outlast
import pytest
from outlast.attachment import Event
from outlast_protocol import Data, ErrorCode, batch
from outlast_protocol.batch import encode_data
from outlast_protocol.frames import Ack, Page, Reply, Resync, Unsubscribe
from outlast_protocol.operations import MessageState, Op, Operation
from outlast_protocol.session_frames import Attach, Attached, Message, Presence, Watch
from outlast_protocol.tile import make_tile

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, TIME_MS, FakeBroker, Line, scenario, stored
from .test_growing import folded_batch, op, operation_batch

OPEN, COMPLETE = MessageState.OPEN, MessageState.COMPLETE


def entry(key: str, version: int, value: Data) -> list[Any]:
    encoding, raw = encode_data(value)
    return [key, version, TIME_MS, "writer", int(encoding), raw]


def member(client_id: str, status: int = 0) -> list[Any]:
    return [client_id, 1, status, 1, b"reading", TIME_MS, "left" if status == 2 else ""]


def appended(offset: int, message: int, data: str) -> bytes:
    return operation_batch(offset, op(Op.APPEND, message), data)


def set_key(offset: int, key: str, value: Data) -> bytes:
    return operation_batch(offset, Operation(Op.SET, key=key), value)


async def answer(
    line: Line, after: int, through: int, /, *state: list[Any], messages: tuple[int, ...] = (), life: int = EPOCH,
    resync: str | None = None, **asked: Any,
) -> Attach:  # fmt: skip
    request = await line.expect(Attach, number=NUMBER, presence=False, **asked)
    line.say(Attached(request.request, after, through, life, 1, list(messages), list(state), resync))
    return request


async def hand_out(line: Line, message: int, place: int, content: str) -> None:
    request = await line.expect(Message, message=message)
    line.say(Page(request.request, message, place, 1, 99, folded_batch(place, message, OPEN, content, name="answer")))


@asynccontextmanager
async def attached(client: outlast.Client, **options: Any) -> AsyncIterator[asyncio.Task[outlast.Attachment]]:
    """A task that enters an attachment of channel "c"; it is closed in the end."""
    session = client.channel("c").attach(**({"presence": False} | options))
    entering = asyncio.create_task(session.__aenter__())
    try:
        yield entering
    finally:
        entering.cancel()
        await session.close()


def told(event: Event) -> Any:
    """An event as short as a test can use it."""
    if isinstance(event, outlast.MessageChanged):
        return event.message.id, event.delta, event.message.content, event.message.state
    if isinstance(event, outlast.StateChanged):
        return event.key, event.value
    if isinstance(event, outlast.MemberChanged):
        return event.member.client_id, event.member.status
    return event.data if isinstance(event, outlast.Record) else type(event)


async def events(session: outlast.Attachment, count: int) -> list[Any]:
    return [told(await anext(session)) for _ in range(count)]


@scenario
async def test_entering_says_what_the_channel_is(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, last=3) as entering:
        await line.open()
        await answer(line, 20, 23, entry("k", 7, {"a": 1}), messages=(5, 21), last=3, raw=False)
        await hand_out(line, 5, 9, "quiet")
        session = await entering
        assert (session.through, session.position) == (outlast.Position(EPOCH, 23), outlast.Position(EPOCH, 20))
        assert (dict(session.state), session.state.version("k")) == ({"k": {"a": 1}}, 7)
        assert {message: view.content for message, view in session.messages.items()} == {5: "quiet"}
        assert session.members == []


@scenario
async def test_history_folded_and_then_what_comes(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, start="earliest") as entering:
        await line.open()
        await answer(line, 0, 9, entry("k", 8, 2), messages=(2,))
        session = await entering
        held = stored(1, "plain") + set_key(3, "k", 1) + folded_batch(7, 2, OPEN, "Ab") + set_key(8, "k", 2)
        line.deliver(make_tile(1, 9, TIME_MS, held))
        line.deliver(appended(10, 2, "c"), set_key(11, "k", 3), stored(12, "live"))
        line.deliver(operation_batch(13, op(Op.CLOSE, 2, COMPLETE)))
        assert await events(session, 2) == ["plain", (2, "Ab", "Ab", "open")]
        assert list(session.messages) == [2]
        assert await events(session, 1) == [(2, "c", "Abc", "open")]
        assert session.position == outlast.Position(EPOCH, 10) and dict(session.state) == {"k": 2}
        assert await events(session, 3) == [("k", 3), "live", (2, "", "Abc", "complete")]
        assert (dict(session.state), dict(session.messages)) == ({"k": 3}, {})


@scenario
async def test_an_event_knows_its_record(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client) as entering:
        await line.open()
        await answer(line, 4, 4, start="latest")
        session = await entering
        line.deliver(operation_batch(5, op(Op.OPEN), "A", name="answer"))
        event = await anext(session)
        assert isinstance(event, outlast.MessageChanged)
        assert (event.operation.op, event.position, event.record.client_id) == (Op.OPEN, (EPOCH, 5), "writer")
        line.deliver(operation_batch(6, Operation(Op.LAPSED, lease="writer", token=3)))
        lapsed = await anext(session)
        assert isinstance(lapsed, outlast.Record) and lapsed.operation is not None and lapsed.operation.token == 3


@scenario
async def test_a_message_that_has_moved_on_comes_whole_where_it_is_met(broker: FakeBroker) -> None:
    """MESSAGE gave it as of a place beyond the history: then it is told of there, and not on entering."""
    async with broker.joined() as (client, line), attached(client, after=9) as entering:
        await line.open()
        await answer(line, 9, 9, messages=(5,))
        await hand_out(line, 5, 11, "Abc")
        session = await entering
        assert dict(session.messages) == {}
        line.deliver(appended(10, 5, "b"), appended(11, 5, "c"), appended(12, 5, "d"))
        reading = asyncio.create_task(events(session, 2))
        await hand_out(line, 5, 11, "Abc")
        assert await reading == [(5, "Abc", "Abc", "open"), (5, "d", "Abcd", "open")]


@scenario
async def test_a_message_past_retention_is_told_as_far_as_it_is_known(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, after=9) as entering:
        await line.open()
        await answer(line, 9, 9)
        session = await entering
        line.deliver(appended(10, 5, "b"), appended(11, 5, "c"))
        reading = asyncio.create_task(events(session, 2))
        line.refuse((await line.expect(Message, message=5)).request, ErrorCode.UNKNOWN_MESSAGE, message=5)
        assert await reading == [(5, "b", "b", "open"), (5, "c", "bc", "open")]
        assert not session.messages[5].whole
        await line.expect_nothing()


@scenario
async def test_waiting_can_be_cancelled_at_any_moment(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, after=9) as entering:
        await line.open()
        await answer(line, 9, 9)
        session = await entering
        line.deliver(appended(10, 5, "b"), stored(11, "next"))
        reading = asyncio.create_task(events(session, 1))
        await line.expect(Message, message=5)
        reading.cancel()
        await asyncio.wait({reading})
        assert session.position == outlast.Position(EPOCH, 9)
        reading = asyncio.create_task(events(session, 2))
        await hand_out(line, 5, 10, "Ab")
        assert await reading == [(5, "Ab", "Ab", "open"), "next"]


# --- connections ----------------------------------------------------------------------------------------------


@scenario
async def test_it_goes_on_without_gap_or_repeat(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, start="earliest") as entering:
        await line.open()
        await answer(line, 0, 1, entry("k", 1, 0))
        session = await entering
        line.deliver(set_key(1, "k", 0), operation_batch(2, op(Op.OPEN), "A"), appended(3, 2, "b"), stored(4, "x"))
        assert await events(session, 2) == [(2, "A", "A", "open"), (2, "b", "Ab", "open")]
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answer(line, 3, 9, entry("k", 6, 7), messages=(2,), after=3, epoch=EPOCH)
        held = (
            stored(4, "x")
            + operation_batch(6, Operation(Op.INCREMENT, key="k", by=7))
            + folded_batch(8, 2, OPEN, "Abcd")
        )
        line.deliver(make_tile(3, 9, TIME_MS, held))
        assert await events(session, 1) == ["x"]
        assert dict(session.state) == {"k": 0}
        assert await events(session, 2) == [("k", 7), (2, "cd", "Abcd", "open")]
        assert session.position == session.through == outlast.Position(EPOCH, 9)


@scenario
async def test_resync_begins_anew(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, after=4) as entering:
        await line.open()
        await answer(line, 4, 4, entry("old", 1, 1))
        session = await entering
        line.deliver(operation_batch(5, op(Op.OPEN), "A"))
        await events(session, 1)
        line.cut()
        line = await broker.greeted()
        await line.open(epoch=NEXT_EPOCH)
        await answer(line, 0, 3, entry("new", 2, 2), life=NEXT_EPOCH, resync="recreated", after=5)
        with pytest.raises(outlast.Resync, match="recreated"):
            await anext(session)
        assert (dict(session.state), dict(session.messages)) == ({"new": 2}, {})
        line.deliver(stored(1, "a"), set_key(2, "new", 2), stored(3, "b"), set_key(4, "new", 3))
        assert await events(session, 3) == ["a", "b", ("new", 3)]


@scenario
async def test_who_is_overtaken_by_retention_attaches_again(broker: FakeBroker) -> None:
    said: list[str] = []

    async with (
        broker.joined() as (client, line),
        attached(client, after=4, on_resync=lambda resync: said.append(resync.reason)) as entering,
    ):
        await line.open()
        await answer(line, 4, 9)
        session = await entering
        line.deliver(stored(5, "five"))
        line.say(Resync(NUMBER, "trimmed", 50, EPOCH))
        line.deliver(stored(51, "not asked for any more"))
        await line.expect(Unsubscribe, number=NUMBER)
        await answer(line, 50, 52, entry("k", 7, 1), messages=(6,), resync="trimmed", after=4, epoch=EPOCH)
        reading = asyncio.create_task(events(session, 2))
        await hand_out(line, 6, 48, "quiet")
        line.deliver(stored(51, "a", "b"))
        assert await reading == ["a", "b"]
        assert said == ["trimmed"] and dict(session.state) == {"k": 1} and list(session.messages) == [6]


@scenario
async def test_a_deleted_channel_goes_on_in_its_next_life(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client) as entering:
        await line.open()
        await answer(line, 4, 4, entry("k", 1, 1))
        session = await entering
        line.say(Resync(NUMBER, "deleted", 4, EPOCH))
        with pytest.raises(outlast.Resync, match="deleted"):
            await anext(session)
        reading = asyncio.create_task(events(session, 1))
        await line.open(epoch=NEXT_EPOCH)
        await answer(line, 0, 1, life=NEXT_EPOCH, start="earliest")
        line.deliver(stored(1, "anew"))
        assert await reading == ["anew"]
        assert dict(session.state) == {}


@scenario
async def test_a_sum_that_cannot_be_is_fetched_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client) as entering:
        await line.open()
        await answer(line, 4, 4, entry("k", 1, "no number"))
        session = await entering
        line.deliver(operation_batch(5, Operation(Op.INCREMENT, key="k", by=1)), stored(6, "next"))
        reading = asyncio.create_task(events(session, 1))
        await line.ended.wait()
        line = await broker.greeted()
        await line.open()
        await answer(line, 5, 6, entry("k", 5, 2), after=5)
        line.deliver(stored(6, "next"))
        assert await reading == ["next"]
        assert dict(session.state) == {"k": 2}


@scenario
async def test_what_is_refused_ends_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, after=99) as entering:
        await line.open()
        line.refuse((await line.expect(Attach)).request, ErrorCode.OFFSET_AHEAD, last=9)
        with pytest.raises(outlast.OffsetAhead):
            await entering


# --- members --------------------------------------------------------------------------------------------------


@scenario
async def test_members(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, presence=True) as entering:
        await line.open()
        await answer(line, 4, 4)
        watch = await line.expect(Watch, number=NUMBER, rows=True)
        line.say(Reply(watch.request, {"present": 2, "away": 0}))
        line.say(Presence(NUMBER, 2, 0, [member("ada")], snapshot=True, more=True))
        await line.expect_nothing()
        assert not entering.done()
        line.say(Presence(NUMBER, 2, 0, [member("bob")], snapshot=True))
        session = await entering
        assert [(each.client_id, each.data) for each in session.members] == [("ada", "reading"), ("bob", "reading")]
        line.say(Presence(NUMBER, 1, 1, [member("ada", 1)]), Presence(NUMBER, 0, 1, [member("bob", 2)]))
        assert await events(session, 3) == [outlast.Occupied, ("ada", "away"), ("bob", "left")]
        assert [(each.client_id, each.status) for each in session.members] == [("ada", "away")]


# --- cursors --------------------------------------------------------------------------------------------------


@scenario
async def test_an_event_is_acknowledged_when_the_next_one_is_asked_for(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, cursor="phone") as entering:
        await line.open()
        await answer(line, 4, 6, start="earliest", cursor="phone")
        session = await entering
        line.deliver(make_tile(5, 6, TIME_MS, stored(5, "a")))
        line.deliver(stored(7, "b"))
        assert await events(session, 1) == ["a"]
        await line.expect_nothing()
        assert await events(session, 1) == ["b"]
        ack = await line.expect(Ack, cursor="phone", offset=6)
        line.say(Reply(ack.request, {"offset": 6}))
        closing = asyncio.create_task(session.close())
        ack = await line.expect(Ack, cursor="phone", offset=7)
        line.say(Reply(ack.request, {"offset": 7}))
        await closing


@scenario
async def test_acknowledging_by_hand(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), attached(client, cursor="phone", ack="manual") as entering:
        await line.open()
        await answer(line, 4, 6)
        session = await entering
        line.deliver(stored(5, "a", "b"))
        assert await events(session, 2) == ["a", "b"]
        await line.expect_nothing()
        session.ack()
        line.say(Reply((await line.expect(Ack, offset=6)).request, {"offset": 6}))
        await session.acked()


@scenario
async def test_without_a_cursor_nothing_can_be_acknowledged(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        session = client.channel("c").attach()
        with pytest.raises(RuntimeError, match="no cursor"):
            session.ack()
        with pytest.raises(RuntimeError, match="no cursor"):
            await session.acked()
        with pytest.raises(ValueError, match="ack is"):
            client.channel("c").attach(ack="never")  # type: ignore[arg-type]
        await line.expect_nothing()


@scenario
async def test_before_it_is_entered_nothing_is_known(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        session = client.channel("c").attach()
        for what in ("through", "state", "messages", "members"):
            with pytest.raises(RuntimeError, match="not entered"):
                getattr(session, what)
        await line.expect_nothing()


def test_batches_of_these_tests_are_what_the_codec_reads() -> None:
    assert [record.offset for record in batch.read_records(make_tile(1, 9, TIME_MS, stored(3, "a")))] == [3]
