"""What is said again on every new connection, and what the broker's refusals do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import outlast
import pytest
from outlast import room as room_module
from outlast.room import Lookout
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Enter, Leave, Open, Presence, Reply, Resync, Unwatch, Watch

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, FakeBroker, Line, scenario
from .test_members import row, told, viewing

COUNTS = {"present": 1, "away": 0}


def told_here(*given: Any, **more: Any) -> Presence:
    return told(*given, **more)._replace(number=NUMBER)


async def answered(line: Line, kind: type[Any], **fields: object) -> Any:
    """Expects a request and says that it is done."""
    request = await line.expect(kind, number=NUMBER, **fields)
    line.say(Reply(request.request, COUNTS))
    return request


@asynccontextmanager
async def entered(client: outlast.Client, line: Line) -> AsyncIterator[outlast.Membership]:
    """A membership of "c" that the broker has accepted."""
    me = client.channel("c").presence.enter("hello", grace=2.5)
    entering = asyncio.create_task(me.__aenter__())
    await line.open()
    enter = await answered(line, Enter, data=b"hello", encoding=1, grace_ms=2_500)
    await entering
    assert enter.member == me.member_id
    yield me


async def watching(client: outlast.Client, line: Line, *rows: list[Any], members: bool = True) -> Any:
    """A watch of "c" that has got its snapshot."""
    watch = await client.channel("c").presence.watch(members=members).__aenter__()
    await line.open()
    await answered(line, Watch, rows=members)
    line.say(told_here(len(rows), *(rows if members else []), snapshot=True))
    assert isinstance(await anext(watch), outlast.PresenceSnapshot if members else outlast.PresenceCounts)
    return watch


@scenario
async def test_entering_waits_for_the_broker_and_leaving_tells_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line) as me:
        leaving = asyncio.create_task(me.leave())
        await answered(line, Leave, member=me.member_id)
        await leaving
        await me.leave()
        line.cut()
        line = await broker.greeted()
        await line.expect_nothing()
        with pytest.raises(outlast.Closed):
            await me.update("x")


@scenario
async def test_a_new_connection_is_told_the_newest_under_the_same_member(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line) as me:
        line.cut()
        updates = [asyncio.create_task(me.update(text)) for text in ("one", "two")]
        line = await broker.greeted()
        await line.open()
        await answered(line, Enter, member=me.member_id, data=b"two")
        await asyncio.gather(*updates)
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answered(line, Enter, member=me.member_id, data=b"two")
        await line.expect_nothing()


@scenario
async def test_an_update_that_was_not_answered_goes_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line) as me:
        updating = asyncio.create_task(me.update("typing"))
        await line.expect(Enter, data=b"typing")
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answered(line, Enter, data=b"typing")
        await updating


@scenario
async def test_who_is_refused_has_not_entered(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").presence.enter().__aenter__())
        await line.open()
        enter = await line.expect(Enter)
        line.refuse(enter.request, ErrorCode.LIMIT_EXCEEDED, limit="members", value=20_000)
        with pytest.raises(outlast.LimitExceeded):
            await entering
        line.cut()
        line = await broker.greeted()
        await line.expect_nothing()


@scenario
async def test_a_refused_update_leaves_the_data_as_it_was(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line) as me:
        updating = asyncio.create_task(me.update("much"))
        enter = await line.expect(Enter)
        line.refuse(enter.request, ErrorCode.LIMIT_EXCEEDED, limit="member_data_bytes", value=3)
        with pytest.raises(outlast.LimitExceeded):
            await updating
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answered(line, Enter, data=b"hello")


@scenario
async def test_a_refusal_for_now_and_a_refused_return_are_tried_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line):
        line.cut()
        line = await broker.greeted()
        await line.open()
        for code in (ErrorCode.READ_ONLY, ErrorCode.LIMIT_EXCEEDED):
            enter = await line.expect(Enter)
            line.refuse(enter.request, code, retry_after_ms=1)
        await answered(line, Enter)
        await line.expect_nothing()


@scenario
async def test_a_cancelled_entry_leaves(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        entering = asyncio.create_task(client.channel("c").presence.enter().__aenter__())
        await line.open()
        enter = await line.expect(Enter)
        entering.cancel()
        await line.expect(Leave, member=enter.member)


@scenario
async def test_a_client_that_is_closed_leaves(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line) as me:
        watch = client.channel("c").presence.watch()
        following = asyncio.create_task(anext(watch))
        await line.expect(Watch)
        await client.close()
        await line.expect(Leave, member=me.member_id)
        with pytest.raises(outlast.Closed):
            await following
        with pytest.raises(outlast.Closed):
            await me.update("x")
        with pytest.raises(outlast.Closed):
            await client.channel("c").presence.enter().__aenter__()


# --- watching ---------------------------------------------------------------------------------------------


@scenario
async def test_a_watch_goes_on_over_connections(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        watch = await watching(client, line, row("a"))
        assert await anext(watch) == outlast.Occupied(1, 0)
        line.say(told_here(2, row("b"), snapshot=True, more=True))
        line.cut()
        line = await broker.greeted()
        await line.open()
        await answered(line, Watch)
        line.say(told_here(0, snapshot=True))
        assert await anext(watch) == outlast.PresenceSnapshot(0, 0, ())
        assert await anext(watch) == outlast.Vacated(0, 0)
        await watch.close()
        await answered(line, Unwatch)


@scenario
async def test_all_watches_of_a_channel_share_one_on_the_wire(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        first = await watching(client, line, row("a"))
        second = client.channel("c").presence.watch()
        assert isinstance(await anext(second), outlast.PresenceSnapshot)
        counting = client.channel("c").presence.watch(members=False)
        assert await anext(counting) == outlast.PresenceCounts(1, 0)
        assert await anext(counting) == outlast.Occupied(1, 0)
        line.say(told_here(1, row("a", data=b"typing")), told_here(2, row("b")))
        assert await anext(counting) == outlast.PresenceCounts(2, 0)
        await first.close()
        await counting.close()
        await line.expect_nothing()
        await second.close()
        await line.expect(Unwatch)


@scenario
async def test_who_wants_members_asks_for_them_when_only_counts_came(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        counting = await watching(client, line, row("a"), members=False)
        watch = await client.channel("c").presence.watch().__aenter__()
        asked = await line.expect(Watch, rows=True)
        line.say(told_here(2), Reply(asked.request, COUNTS))
        line.say(told_here(2, row("a"), snapshot=True, more=True), told_here(2, row("b"), snapshot=True))
        event = await anext(watch)
        assert isinstance(event, outlast.PresenceSnapshot) and len(event.members) == 2
        assert [await anext(counting) for _ in range(2)] == [outlast.Occupied(1, 0), outlast.PresenceCounts(2, 0)]


@scenario
async def test_a_watch_that_is_dropped_ends(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        watch = await watching(client, line)
        del watch
        await line.expect(Unwatch)


@scenario
async def test_nonsense_from_the_broker_costs_the_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        watch = await watching(client, line)
        line.say(told_here(1, ["a"]))
        line = await broker.greeted()
        await line.open()
        await answered(line, Watch)
        line.say(told_here(1, row("a"), snapshot=True))
        assert (await anext(watch)).present == 1


@scenario
async def test_two_tasks_cannot_iterate_one_watch(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        watch = await watching(client, line)
        first = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="watch twice"):
            await anext(watch)
        await watch.close()
        with pytest.raises(StopAsyncIteration):
            await first


# --- channels that are deleted ----------------------------------------------------------------------------


@scenario
async def test_a_deleted_channel_is_waited_for_and_not_brought_back(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client, line):
        watch = client.channel("c").presence.watch()
        following = asyncio.create_task(anext(watch))
        await answered(line, Watch)
        line.say(told_here(1, row("a"), snapshot=True))
        assert (await following).present == 1
        assert await anext(watch) == outlast.Occupied(1, 0)
        line.say(Resync(NUMBER, "deleted", 0, EPOCH))
        changed = await anext(watch)
        assert isinstance(changed, outlast.MemberChanged) and changed.member.reason == "deleted"
        assert await anext(watch) == outlast.Vacated(0, 0)
        for _ in range(2):
            request = await line.expect(Open, channel="c", create=False)
            line.refuse(request.request, ErrorCode.UNKNOWN_CHANNEL)
        await line.open(epoch=NEXT_EPOCH)
        await answered(line, Enter, data=b"hello")
        await answered(line, Watch)


@scenario
async def test_an_update_brings_a_deleted_channel_back(broker: FakeBroker) -> None:
    async with (
        broker.joined(backoff_base_ms=60_000, backoff_cap_ms=60_000) as (client, line),
        entered(client, line) as me,
    ):
        line.say(Resync(NUMBER, "deleted", 0, EPOCH))
        await line.expect_nothing()
        updating = asyncio.create_task(me.update("typing"))
        request = await line.open(epoch=NEXT_EPOCH)
        assert request.create
        await answered(line, Enter, data=b"typing")
        await updating


@scenario
async def test_a_dead_number_is_opened_anew(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        publishing = asyncio.create_task(client.channel("c").publish("x"))
        await line.open()
        await line.publish(1)
        await publishing
        entering = asyncio.create_task(client.channel("c").presence.enter("hello").__aenter__())
        line.refuse((await line.expect(Enter)).request, ErrorCode.UNKNOWN_CHANNEL)
        assert (await line.open(epoch=NEXT_EPOCH)).create
        await answered(line, Enter)
        await entering


# --- who is slow ------------------------------------------------------------------------------------------


def test_who_does_not_iterate_gets_a_snapshot_of_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "EVENTS_MAX", 10)
    view, lookout = viewing(), Lookout(wants_rows=True)
    lookout.push([view.snapshot()], view)
    for index in range(30):
        lookout.push(view.apply(told(1, row("a", data=b"%d" % index))), view)
    events = []
    while (event := lookout.pop()) is not None:
        events.append(event)
    assert isinstance(events[0], outlast.PresenceSnapshot) and len(events) < 13
    assert [event for event in events if isinstance(event, outlast.Occupied)] == [outlast.Occupied(1, 0)]
    last = events[-1]
    assert isinstance(last, outlast.MemberChanged) and last.member.data == "29"
    for index in range(30):
        lookout.push(view.apply(told(0, row("a", 2))), view)
        lookout.push(view.apply(told(1, row("a", data=b"%d" % index))), view)
    occupancy = [event for event in iter(lookout.pop, None) if isinstance(event, outlast.Occupied | outlast.Vacated)]
    assert all(type(one) is not type(next_) for one, next_ in zip(occupancy, occupancy[1:], strict=False))
    assert not occupancy or isinstance(occupancy[-1], outlast.Occupied)
