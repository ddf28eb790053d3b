"""A live replica: from one snapshot on, over lost connections, resyncs and the end of its channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import outlast
import pytest
from outlast import Position, StateChanged
from outlast_protocol import Data, ErrorCode
from outlast_protocol.batch import encode_data, encode_labelled, stamp
from outlast_protocol.frames import Reply, Resync, Unsubscribe
from outlast_protocol.operations import Op, Operation
from outlast_protocol.session_frames import State

from .fake_broker import EPOCH, NEXT_EPOCH, NUMBER, TIME_MS, FakeBroker, Line, scenario, stored

Held = dict[str, tuple[int, Data]]


def written(offset: int, *operations: tuple[Operation, Data]) -> bytes:
    """A stamped batch of operations on state, the first at `offset`."""
    rows = []
    for operation, data in operations:
        encoding, raw = encode_data(data)
        rows.append(((int(encoding), None, (), operation, 0), raw))
    return stamp(encode_labelled("writer", rows), offset, TIME_MS)


def setting(key: str, value: Data) -> tuple[Operation, Data]:
    return Operation(Op.SET, key=key), value


def adding(key: str, by: int) -> tuple[Operation, Data]:
    return Operation(Op.INCREMENT, key=key, by=by), b""


async def answer_state(line: Line, last: int, held: Held, epoch: int = EPOCH) -> None:
    """Expects STATE; `held` has version and value of each key."""
    asked = await line.expect(State, channel="c")
    rows = [[key, version, TIME_MS, "writer", *encode_data(value)] for key, (version, value) in held.items()]
    line.say(Reply(asked.request, {"epoch": epoch, "last": last, "state": rows}))


@asynccontextmanager
async def entered(client: outlast.Client) -> AsyncIterator[asyncio.Task[outlast.StateWatch]]:
    """A watch that is being entered, and is closed at the end."""
    watch = client.channel("c").state.watch()
    try:
        yield asyncio.create_task(watch.__aenter__())
    finally:
        await watch.close()


@asynccontextmanager
async def watching(
    client: outlast.Client, line: Line, held: Held, after: int = 4, last: int = 4
) -> AsyncIterator[outlast.StateWatch]:
    """A watch that was entered: its subscription stands at `after`, its snapshot is as of `last`."""
    async with entered(client) as entering:
        await line.open()
        await line.accept(after, start="latest")
        await answer_state(line, last, held)
        yield await entering


async def take(watch: outlast.StateWatch, count: int) -> list[tuple[str, Data, int]]:
    changes = [await anext(watch) for _ in range(count)]
    return [(change.key, change.value, change.version) for change in changes]


@scenario
async def test_it_begins_as_the_snapshot_and_goes_on_behind_it(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {"n": (5, 2)}, last=6) as watch:
        assert (dict(watch), watch.version("n"), watch.version("none"), len(watch)) == ({"n": 2}, 5, 0, 1)
        assert watch.position == Position(EPOCH, 6)
        line.deliver(written(5, adding("n", 1), adding("n", 1)), written(7, adding("n", 1), setting("b", {"x": 1})))
        assert await anext(watch) == StateChanged("n", 3, 7, "writer", False, TIME_MS)
        assert await take(watch, 1) == [("b", {"x": 1}, 8)]
        assert dict(watch) == {"n": 3, "b": {"x": 1}}
        assert f"{EPOCH:016x}:8: 2 keys" in repr(watch)


@scenario
async def test_it_follows_whether_it_is_iterated_or_not(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {}) as watch:
        waiting = asyncio.create_task(watch.reached(6))
        line.deliver(written(5, setting("a", 1)), stored(6, "a message"))
        await waiting
        await watch.reached(Position(EPOCH, 6))
        assert watch["a"] == 1
        assert await take(watch, 1) == [("a", 1, 5)]
        with pytest.raises(outlast.StaleEpoch):
            await watch.reached(Position(NEXT_EPOCH, 1))


@scenario
async def test_a_lost_connection_is_no_gap(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {"n": (1, 1)}) as watch:
        line.deliver(written(5, adding("n", 1)))
        assert await take(watch, 1) == [("n", 2, 5)]
        line.cut()
        line = await broker.greeted()
        await line.open()
        await line.accept(5, after=5, epoch=EPOCH)
        line.deliver(written(6, adding("n", 1)))
        assert await take(watch, 1) == [("n", 3, 6)]


@scenario
async def test_what_is_past_retention_comes_from_a_new_snapshot(broker: FakeBroker) -> None:
    held: Held = {"kept": (1, "k"), "gone": (2, "g"), "n": (3, 1)}
    async with broker.joined() as (client, line), watching(client, line, held) as watch:
        line.say(Resync(NUMBER, "trimmed", 50, EPOCH))
        line.deliver(written(51, adding("n", 1)), written(52, adding("n", 1)))
        await answer_state(line, 51, {"kept": (1, "k"), "new": (20, "x"), "n": (51, 7)})
        assert await take(watch, 4) == [("new", "x", 20), ("n", 7, 51), ("gone", None, 51), ("n", 8, 52)]
        assert dict(watch) == {"kept": "k", "new": "x", "n": 8}


@scenario
async def test_recreated_while_away(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {"a": (1, 1)}) as watch:
        line.cut()
        line = await broker.greeted()
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, resync="recreated")
        await answer_state(line, 1, {"b": (1, 2)}, NEXT_EPOCH)
        line.deliver(written(1, setting("b", 2)), written(2, setting("b", 3)))
        assert await take(watch, 3) == [("b", 2, 1), ("a", None, 1), ("b", 3, 2)]
        assert watch.position == Position(NEXT_EPOCH, 2)


@scenario
async def test_of_a_deleted_channel_the_user_is_told_and_goes_on_when_it_likes(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {"a": (1, 1)}) as watch:
        late = asyncio.create_task(watch.reached(9))
        line.say(Resync(NUMBER, "deleted", 4, EPOCH))
        with pytest.raises(outlast.UnknownChannel):
            await late
        assert dict(watch) == {}
        assert await take(watch, 1) == [("a", None, 0)]
        with pytest.raises(outlast.Resync, match="deleted"):
            await anext(watch)
        await line.expect_nothing()
        reading = asyncio.create_task(take(watch, 2))
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, start="earliest")
        await answer_state(line, 1, {"b": (1, 1)}, NEXT_EPOCH)
        line.deliver(written(1, setting("b", 1)), written(2, adding("b", 1)))
        assert await reading == [("b", 1, 1), ("b", 2, 2)]


@scenario
async def test_deleted_before_the_snapshot_it_holds_nothing_until_it_is_told(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client) as entering:
        await line.open()
        await line.accept(4)
        asked = await line.expect(State)
        line.deliver(written(5, setting("a", 1)), written(6, setting("a", 2)))
        line.refuse(asked.request, ErrorCode.UNKNOWN_CHANNEL)
        watch = await entering
        asked = await line.expect(State)
        line.say(Resync(NUMBER, "deleted", 6, EPOCH))
        line.refuse(asked.request, ErrorCode.UNKNOWN_CHANNEL)
        with pytest.raises(outlast.Resync, match="deleted"):
            await anext(watch)
        assert dict(watch) == {}


@scenario
async def test_of_a_life_that_was_over_when_the_snapshot_was_taken_nothing_is_done(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client) as entering:
        await line.open()
        await line.accept(4)
        await answer_state(line, 1, {"new": (1, 1)}, NEXT_EPOCH)
        watch = await entering
        line.deliver(written(5, setting("old", 1)), written(6, setting("old", 2)))
        await answer_state(line, 1, {"new": (1, 1)}, NEXT_EPOCH)
        await line.expect_nothing()
        line.cut()
        line = await broker.greeted()
        await line.open(epoch=NEXT_EPOCH)
        await line.accept(0, life=NEXT_EPOCH, resync="recreated")
        await answer_state(line, 1, {"new": (1, 1)}, NEXT_EPOCH)
        line.deliver(written(1, setting("new", 1)), written(2, adding("new", 1)))
        assert await take(watch, 1) == [("new", 2, 2)]
        assert dict(watch) == {"new": 2}


@scenario
async def test_a_sum_that_cannot_be_ends_the_watch(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {"a": (1, "text")}) as watch:
        line.deliver(written(5, setting("b", 1)), written(6, adding("a", 1)))
        assert await take(watch, 1) == [("b", 1, 5)]
        for _ in range(2):
            with pytest.raises(outlast.Violation):
                await anext(watch)
        with pytest.raises(outlast.Violation):
            watch["b"]
        with pytest.raises(outlast.Violation):
            await watch.reached(9)
        await line.expect(Unsubscribe)


@scenario
async def test_closing_ends_who_waits_and_what_it_holds_stays(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        async with watching(client, line, {"a": (1, 1)}) as watch:
            reading = asyncio.create_task(anext(watch, None))
            reaching = asyncio.create_task(watch.reached(9))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="two tasks"):
                await anext(watch)
            with pytest.raises(RuntimeError, match="once"):
                await watch.__aenter__()
        assert await reading is None
        with pytest.raises(outlast.Closed):
            await reaching
        assert dict(watch) == {"a": 1}
        await watch.close()
        await line.expect(Unsubscribe)


@scenario
async def test_the_end_of_its_client_is_its_own(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), watching(client, line, {}) as watch:
        reading = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(outlast.Closed):
            await reading


@scenario
async def test_a_refused_snapshot_ends_the_entering_and_leaves_no_subscription(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line), entered(client) as entering:
        await line.open()
        await line.accept(4)
        asked = await line.expect(State)
        line.refuse(asked.request, ErrorCode.DAMAGED)
        with pytest.raises(outlast.Damaged):
            await entering
        await line.expect(Unsubscribe)
