"""Writing a message that grows: what is sent when, what closes it, and what a refusal does to what comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import outlast
import pytest
from outlast.message import read_message
from outlast_protocol import ErrorCode, batch
from outlast_protocol.frames import Open, Page, Publish, Published
from outlast_protocol.limits import REASON_BYTES_MAX
from outlast_protocol.operations import MessageState, Op, Operation
from outlast_protocol.session_frames import Message

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, Line, scenario
from .test_growing import folded_batch

Said = list[tuple[Operation | None, Any]]


class Lease:
    """One that is held until `over` is set."""

    over = False

    def fence(self) -> int:
        if self.over:
            raise outlast.Fenced("the lease is over")
        return 7


def said(publish: Publish) -> Said:
    """Operation and data of each record in a PUBLISH."""
    return [(record.operation, record.decoded()) for record in batch.read_records(publish.batch)]


def opened(data: Any = "") -> tuple[Operation, Any]:
    return Operation(Op.OPEN), data


def appended(message: int, data: Any) -> tuple[Operation, Any]:
    return Operation(Op.APPEND, message), data


def closed(message: int, state: MessageState, reason: str = "") -> tuple[Operation, Any]:
    return Operation(Op.CLOSE, message, state), reason


async def open_one(client: outlast.Client, line: Line, **options: Any) -> outlast.MessageWriter:
    """A message that the broker has at offset 5."""
    message = client.channel("c").message(**options)
    flushing = asyncio.create_task(message.flush())
    await line.open()
    await line.publish(5)
    await flushing
    return message


@scenario
async def test_a_message_from_its_opening_to_its_end(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):

        async def work() -> outlast.MessageWriter:
            async with client.channel("c").message(name="answer", headers={"k": "v"}, data="A") as message:
                await message.append("b")
                assert (message.id, message.position) == (5, outlast.Position(EPOCH, 6))
            return message

        working = asyncio.create_task(work())
        await line.open()
        publish = await line.publish(5, fence=0)
        [record] = batch.read_records(publish.batch)
        assert (record.name, record.headers, record.operation) == ("answer", {"k": "v"}, Operation(Op.OPEN))
        assert said(await line.publish(6)) == [appended(5, "b")]
        assert said(await line.publish(7)) == [closed(5, MessageState.COMPLETE)]
        assert (await working).position == outlast.Position(EPOCH, 7)


@scenario
async def test_what_is_appended_before_the_opening_is_acknowledged_waits_and_goes_as_one(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), client.channel("c").message() as message:
        futures = [message.append_nowait(token) for token in "abc"]
        plain = client.channel("c").publish_nowait("plain")
        await line.open()
        opening = await line.expect(Publish)
        assert said(opening) == [opened()]
        futures.append(message.append_nowait("d"))
        with pytest.raises(RuntimeError, match="flush"):
            message.id  # noqa: B018
        await line.expect_nothing()
        line.say(Published([(opening.request, 5, False)]))
        publish = await line.publish(6, sequence=2)
        assert said(publish) == [*(appended(5, token) for token in "abc"), (None, "plain"), appended(5, "d")]
        assert [(await future).offset for future in futures] == [6, 7, 8, 10]
        assert (await plain).offset == 9
        closing = asyncio.create_task(message.complete())
        await line.publish(11)
        await closing


@scenario
async def test_appends_while_an_acknowledgement_is_outstanding_go_as_one(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        message.append_nowait("a")
        first = await line.expect(Publish)
        for token in "bcd":
            message.append_nowait(token)
        line.say(Published([(first.request, 6, False)]))
        assert said(await line.publish(7)) == [appended(5, token) for token in "bcd"]


@scenario
async def test_two_messages_grow_side_by_side(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        one, two = channel.message(data="1"), channel.message(data=b"2")
        one.append_nowait("a")
        two.append_nowait(b"b")
        await line.open()
        assert said(await line.publish(1)) == [opened("1")]
        assert said(await line.publish(2)) == [appended(1, "a"), opened(b"2")]
        assert said(await line.publish(4)) == [appended(2 + 1, b"b")]
        await two.flush()
        assert (one.id, two.id) == (1, 3)


@scenario
async def test_flush_waits_for_what_was_said_also_when_its_future_was_cancelled(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        message.append_nowait("a").cancel()
        flushing = asyncio.create_task(message.flush())
        assert said(await line.publish(6)) == [appended(5, "a")]
        assert said(await line.publish(7)) == [appended(5, "")]
        await flushing
        appending = asyncio.create_task(message.append("b"))
        publish = await line.expect(Publish)
        appending.cancel()
        flushing = asyncio.create_task(message.flush())
        line.say(Published([(publish.request, 8, False)]))
        await flushing
        assert message.position.offset == 8


# --- closing --------------------------------------------------------------------------------------------------


async def leave(message: outlast.MessageWriter, error: BaseException | None) -> None:
    async with message:
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, MessageState.COMPLETE, ""),
        (ValueError("no tool of that name"), MessageState.ERROR, "no tool of that name"),
        (KeyError(), MessageState.ERROR, "KeyError"),
        (asyncio.CancelledError(), MessageState.CANCELLED, ""),
        (ValueError("ä" * REASON_BYTES_MAX), MessageState.ERROR, "ä" * (REASON_BYTES_MAX // 2)),
    ],
)
def test_leaving_the_block_closes_it(error: BaseException | None, state: MessageState, reason: str) -> None:
    @scenario
    async def leaving(broker: FakeBroker) -> None:
        async with broker.joined() as (client, line):
            message = await open_one(client, line)
            task = asyncio.create_task(leave(message, error))
            assert said(await line.publish(6)) == [closed(5, state, reason)]
            await asyncio.wait({task})
            if isinstance(error, asyncio.CancelledError):
                assert task.cancelled()
            else:
                assert task.exception() is error

    leaving("asyncio")


@pytest.mark.parametrize(
    ("verb", "arguments", "state"),
    [
        ("complete", (), MessageState.COMPLETE),
        ("cancel", ("by its user",), MessageState.CANCELLED),
        ("fail", ("out of memory",), MessageState.ERROR),
    ],
)
def test_closing_by_a_verb_is_once(verb: str, arguments: tuple[str, ...], state: MessageState) -> None:
    @scenario
    async def closing(broker: FakeBroker) -> None:
        async with broker.joined() as (client, line):
            async with await open_one(client, line) as message:
                task = asyncio.create_task(getattr(message, verb)(*arguments))
                assert said(await line.publish(6)) == [closed(5, state, *arguments)]
                assert (await task).offset == 6
                with pytest.raises(outlast.MessageClosed) as refusal:
                    await message.append("late")
                assert (refusal.value.message_id, refusal.value.state) == (5, state.name.lower())
                with pytest.raises(outlast.MessageClosed):
                    await message.complete()
            await line.expect_nothing()

    closing("asyncio")


@scenario
async def test_a_cancelled_writer_does_not_wait_for_ever(broker: FakeBroker) -> None:
    """Its closing stays on its way."""
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        task = asyncio.create_task(leave(message, asyncio.CancelledError()))
        publish = await line.expect(Publish)
        await asyncio.wait({task})
        assert task.cancelled()
        line.cut()
        line = await broker.greeted()
        await line.open()
        assert (await line.publish(6)).batch == publish.batch


# --- refusals -------------------------------------------------------------------------------------------------


async def raises(kind: type[outlast.OutlastError], *waiting: Awaitable[Any]) -> None:
    for each in waiting:
        with pytest.raises(kind):
            await each


@scenario
async def test_after_a_refusal_nothing_more_is_appended(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        futures = [message.append_nowait("a")]
        first = await line.expect(Publish)
        futures += [message.append_nowait(token) for token in "bcd"]
        line.say(Published([(first.request, 6, False)]))
        together = await line.expect(Publish)
        futures += [message.append_nowait(token) for token in "ef"]
        line.refuse(together.request, ErrorCode.LIMIT_EXCEEDED, limit="message_bytes", value=1)
        assert said(await line.publish(7)) == [appended(5, "b")]
        alone = await line.expect(Publish)
        assert said(alone) == [appended(5, "c")]
        other = client.channel("c").publish_nowait("other")
        line.refuse(alone.request, ErrorCode.LIMIT_EXCEEDED, limit="message_bytes", value=1)
        assert said(await line.publish(8)) == [(None, "other")]
        await raises(outlast.LimitExceeded, *futures[2:], message.append("g"), message.flush(), message.complete())
        with pytest.raises(outlast.LimitExceeded):
            message.append_nowait("h")
        assert [(await future).offset for future in (*futures[:2], other)] == [6, 7, 8]
        failing = asyncio.create_task(message.fail("too long"))
        assert said(await line.publish(9)) == [closed(5, MessageState.ERROR, "too long")]
        await failing


@scenario
async def test_leaving_a_block_whose_appends_failed_says_so(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):

        async def work() -> None:
            async with client.channel("c").message() as message:
                for token in "abc":
                    message.append_nowait(token)

        working = asyncio.create_task(work())
        await line.open()
        await line.publish(5)
        refused = await line.expect(Publish)
        line.refuse(refused.request, ErrorCode.READ_ONLY, retry_after_ms=1)
        refused = await line.expect(Publish)
        line.refuse(refused.request, ErrorCode.FENCED, token=9)
        [(operation, reason)] = said(await line.publish(6))
        assert operation == Operation(Op.CLOSE, 5, MessageState.ERROR) and "fenced" in reason
        await raises(outlast.Fenced, working)


@scenario
async def test_an_opening_that_is_refused_takes_everything_with_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = client.channel("c").message()
        futures = [message.append_nowait(token) for token in "ab"]
        await line.open()
        opening = await line.expect(Publish)
        line.refuse(opening.request, ErrorCode.LIMIT_EXCEEDED, limit="open_messages", value=256)
        await raises(outlast.LimitExceeded, *futures, message.flush())
        await line.expect_nothing()


@scenario
async def test_an_opening_whose_place_the_broker_forgot(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = client.channel("c").message()
        future = message.append_nowait("a")
        await line.open()
        await line.publish(0, duplicate=True)
        await raises(outlast.UnknownMessage, future, message.flush())
        await line.expect_nothing()


@scenario
async def test_what_is_unacknowledged_is_sent_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = client.channel("c").message()
        message.append_nowait("a")
        await line.open()
        first = await line.expect(Publish)
        line.cut()
        line = await broker.greeted()
        await line.open()
        assert (await line.publish(5, duplicate=True)).batch == first.batch
        publish = await line.expect(Publish)
        line.cut()
        line = await broker.greeted()
        assert (await line.open()).create is False
        assert (await line.publish(6)).batch == publish.batch
        await message.flush()


@scenario
async def test_nothing_goes_into_another_life_of_the_channel(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        lost = message.append_nowait("a")
        plain = client.channel("c").publish_nowait("plain")
        assert len(said(await line.expect(Publish))) == 2
        late = message.append_nowait("b")
        line.cut()
        line = await broker.greeted()
        await line.open(epoch=NEXT_EPOCH)
        assert said(await line.publish(1)) == [(None, "plain")]
        await raises(outlast.StaleEpoch, lost, late, message.append("c"), message.complete())
        assert (await plain).epoch == NEXT_EPOCH


@scenario
async def test_a_message_does_not_bring_back_a_channel_that_was_deleted(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = await open_one(client, line)
        lost = message.append_nowait("a")
        publish = await line.expect(Publish)
        plain = client.channel("c").publish_nowait("plain")
        line.refuse(publish.request, ErrorCode.UNKNOWN_CHANNEL)
        request = await line.expect(Open)
        assert request.create is False
        line.refuse(request.request, ErrorCode.UNKNOWN_CHANNEL)
        await raises(outlast.UnknownChannel, lost)
        assert (await line.open(epoch=NEXT_EPOCH)).create is True
        assert said(await line.publish(1)) == [(None, "plain")]
        await plain


# --- data, leases, other people's messages ----------------------------------------------------------------------


@scenario
async def test_text_and_bytes_do_not_mix(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        with pytest.raises(TypeError, match="bytes cannot be added"):
            await channel.message(data="text").append(b"bytes")
        with pytest.raises(TypeError, match="text cannot be added"):
            channel.message(data=b"").append_nowait("text")
        for wrong in ({"a": 1}, None, 7):
            with pytest.raises(TypeError, match="text or bytes"):
                channel.message(data=wrong)  # type: ignore[arg-type]
        await line.expect_nothing()


@scenario
async def test_under_a_lease_every_publish_is_fenced(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        message = client.channel("c").message(lease=Lease())
        appending = asyncio.create_task(message.append("a"))
        await line.open()
        await line.publish(5, fence=7)
        await line.publish(6, fence=7)
        await appending
        closing = asyncio.create_task(message.complete())
        await line.publish(7, fence=7)
        await closing


@scenario
async def test_when_the_lease_is_over_nothing_is_sent_any_more(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        lease = Lease()
        message = await open_one(client, line, lease=lease)
        lease.over = True
        with pytest.raises(outlast.Fenced):
            message.append_nowait("a")
        await raises(outlast.Fenced, message.append("b"), leave(message, None))
        await line.expect_nothing()


@scenario
async def test_replace_and_remove(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel = client.channel("c")
        replacing = asyncio.create_task(channel.replace(5, "anew", lease=Lease()))
        await line.open()
        assert said(await line.publish(9, fence=7)) == [(Operation(Op.REPLACE, 5), "anew")]
        assert (await replacing).offset == 9
        removing = asyncio.create_task(channel.remove(f"{EPOCH:016x}:5"))
        assert said(await line.publish(10)) == [(Operation(Op.REMOVE, 5), b"")]
        await removing
        await raises(outlast.StaleEpoch, channel.remove(outlast.Position(NEXT_EPOCH, 5)))
        with pytest.raises(ValueError, match="1 or more"):
            await channel.remove(0)
        with pytest.raises(TypeError, match="text or bytes"):
            await channel.replace(5, [1])  # type: ignore[arg-type]


async def hand_out(line: Line, state: MessageState, reason: str = "") -> None:
    request = await line.expect(Message, number=NUMBER, message=5)
    stored = folded_batch(8, 5, state, "so far", reason)
    line.say(Page(request.request, 5, 8, 1, 9, stored))


@scenario
async def test_adopting_an_open_message(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        adopting = asyncio.create_task(client.channel("c").adopt(5))
        await line.open()
        await hand_out(line, MessageState.OPEN)
        message = await adopting
        assert (message.id, message.content, message.position.offset) == (5, "so far", 8)
        appending = asyncio.create_task(message.append(" so good"))
        assert said(await line.publish(10)) == [appended(5, " so good")]
        await appending


@scenario
async def test_adopting_an_interrupted_message_opens_it_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        adopting = asyncio.create_task(client.channel("c").adopt(5, lease=Lease()))
        await line.open()
        await hand_out(line, MessageState.INTERRUPTED)
        assert said(await line.publish(10, fence=7)) == [(Operation(Op.REOPEN, 5), "")]
        assert (await adopting).content == "so far"


@scenario
async def test_a_closed_message_cannot_be_adopted(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        adopting = asyncio.create_task(client.channel("c").adopt(5))
        await line.open()
        await hand_out(line, MessageState.COMPLETE)
        with pytest.raises(outlast.MessageClosed) as refusal:
            await adopting
        assert refusal.value.state == "complete"


def test_what_names_a_message() -> None:
    assert read_message(5) == (5, None)
    assert read_message(f"{EPOCH:016x}:5") == (5, EPOCH)

    class Named:
        id, epoch = 5, EPOCH

    assert read_message(Named()) == (5, EPOCH)
