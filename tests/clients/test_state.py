"""Shared state: what is sent, and what the real broker makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import outlast
import pytest
from outlast import Delete, Increment, Set, StateEntry
from outlast.state import Change, check_key, entries_from
from outlast_protocol import Data, ErrorCode
from outlast_protocol.batch import KIND_SESSION, read_records
from outlast_protocol.frames import Publish, Published
from outlast_protocol.limits import STATE_BYTES_MAX, STATE_KEYS_MAX, STATE_VALUE_BYTES_MAX
from outlast_protocol.operations import WHOLE_MAX, Op, Operation

from tests.support.bounds import FACTOR, seeded_random
from tests.support.broker import running_broker

from .fake_broker import LOOPS, FakeBroker, scenario
from .test_against_broker import connect, tell


def operations_of(publish: Publish) -> list[tuple[Operation | None, Any]]:
    return [(record.operation, record.decoded()) for record in read_records(publish.batch)]


# --- what is sent -----------------------------------------------------------------------------------------


@scenario
async def test_a_change_is_one_record(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        state = client.channel("c").state
        writing = asyncio.create_task(state.set("key", {"a": [1]}, version=7))
        await line.open()
        publish = await line.publish(9, fence=0)
        assert publish.batch[24] == KIND_SESSION
        assert operations_of(publish) == [(Operation(Op.SET, key="key", version=7), {"a": [1]})]
        assert (await writing).offset == 9
        for write, expected in (
            (state.set("key", "text"), (Operation(Op.SET, key="key"), "text")),
            (state.set("key", b"\xff", version=0), (Operation(Op.SET, key="key", version=0), b"\xff")),
            (state.delete("key"), (Operation(Op.UNSET, key="key"), b"")),
            (state.delete("key", 3), (Operation(Op.UNSET, key="key", version=3), b"")),
            (state.increment("key"), (Operation(Op.INCREMENT, key="key", by=1), b"")),
            (state.increment("key", -5), (Operation(Op.INCREMENT, key="key", by=-5), b"")),
        ):
            writing = asyncio.create_task(write)
            assert operations_of(await line.publish(1)) == [expected]
            await writing


@scenario
async def test_several_go_alone_and_under_the_lease(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        channel, lease = client.channel("c"), SimpleNamespace(fence=lambda: 5)
        first = asyncio.create_task(channel.publish("first"))
        await line.open()
        request = (await line.expect(Publish)).request
        several = asyncio.create_task(channel.state.update([Set("a", 1), Delete("b"), Increment("c")], lease=lease))
        condition = asyncio.create_task(channel.state.set("a", 2, version=1))
        more = [asyncio.create_task(channel.state.increment("d")), asyncio.create_task(channel.publish("last"))]
        await line.expect_nothing()
        line.say(Published([(request, 1, False)]))
        together = operations_of(await line.publish(2, fence=5))
        assert [operation.op for operation, _ in together if operation] == [Op.SET, Op.UNSET, Op.INCREMENT]
        assert len(operations_of(await line.publish(5, fence=0))) == 1
        assert len(operations_of(await line.publish(6, fence=0))) == 2
        assert list((await several).offsets) == [2, 3, 4]
        assert [ack.offset for ack in await asyncio.gather(first, condition, *more)] == [1, 5, 6, 7]


@scenario
async def test_a_refusal_has_a_type(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        writing = asyncio.create_task(client.channel("c").state.set("key", 1, version=7))
        await line.open()
        publish = await line.expect(Publish)
        line.refuse(publish.request, ErrorCode.VERSION_MISMATCH, key="key", version=9)
        with pytest.raises(outlast.VersionMismatch) as refused:
            await writing
        assert (refused.value.key, refused.value.version) == ("key", 9)


@scenario
async def test_what_cannot_be_is_not_sent(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        state = client.channel("c").state
        wrong: list[Any] = [
            state.set("", 1), state.set("a\n", 1), state.set("é" * 128, 1), state.set("\ud800", 1),
            state.set("a", 1, -1), state.set("a", float("nan")),
            state.increment("a", WHOLE_MAX + 1), state.update([]),
        ]  # fmt: skip
        for write in wrong:
            with pytest.raises(ValueError):
                await write
        number, flag, name = cast(Any, 1), cast(Any, True), cast(Any, "1")
        mistaken: list[Any] = [
            state.set(number, 1), state.increment("a", flag), state.update([name]), state.delete("a", name),
        ]  # fmt: skip
        for write in mistaken:
            with pytest.raises(TypeError):
                await write
        await line.expect_nothing()


def test_rows_are_entries() -> None:
    rows = [["a", 3, 1_000, "ada", 2, b'{"x":1}'], ["b", 4, 2_000, "bob", 0, b"\xff"], ["c", 5, 3_000, "", 2, b"{"]]
    assert entries_from(rows) == {
        "a": StateEntry({"x": 1}, 3, "ada", 1_000),
        "b": StateEntry(b"\xff", 4, "bob", 2_000),
        "c": StateEntry(b"{", 5, "", 3_000),
    }


def test_a_key_may_be_255_bytes() -> None:
    assert check_key("é" * 127 + "x") == "é" * 127 + "x"


# --- the real broker --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_every_verb(loop: str) -> None:
    with running_broker() as broker:
        tell(every_verb, f"outlast+unix://{broker.path}", loop)


async def every_verb(url: str) -> None:
    async with connect(url, client_id="agent") as client:
        state = client.channel("c").state
        with pytest.raises(outlast.UnknownChannel):
            await state.get()
        first = await state.set("step", "plan", version=0)
        assert (first.offset, await state.get_value("step"), await state.get_value("none", "-")) == (1, "plan", "-")
        await client.channel("c").publish("a message")
        await state.increment("tokens", 5)
        await state.update([Set("step", {"name": "build"}, 1), Increment("tokens", -2), Delete("none")])
        snapshot = await state.get()
        assert dict(snapshot) == {"step": {"name": "build"}, "tokens": 3}
        assert snapshot.position == outlast.Position(first.epoch, 6)
        assert (snapshot.version("step"), snapshot.version("tokens"), snapshot.version("none")) == (4, 5, 0)
        assert snapshot.entries["step"].client_id == "agent"
        await state.delete("step", version=4)
        assert dict(await state.get()) == {"tokens": 3}
        await refusals(state)


async def refusals(state: outlast.SharedState) -> None:
    before = await state.get()
    for version in (0, 4):
        with pytest.raises(outlast.VersionMismatch) as mismatch:
            await state.set("tokens", 9, version)
        assert (mismatch.value.key, mismatch.value.version) == ("tokens", 5)
    with pytest.raises(outlast.NotANumber):
        await state.update([Set("text", "five"), Increment("text")])
    with pytest.raises(outlast.NotANumber):
        await state.increment("tokens", WHOLE_MAX)
    with pytest.raises(outlast.VersionMismatch):
        await state.update([Set("tokens", 1), Increment("tokens"), Set("tokens", 2, version=5)])
    after = await state.get()
    assert (dict(after), after.position) == (dict(before), before.position), "a refused batch leaves nothing behind"


@pytest.mark.parametrize("loop", LOOPS)
def test_of_many_that_increment_none_is_lost(loop: str) -> None:
    with running_broker() as broker:
        tell(many_increments, f"outlast+unix://{broker.path}", loop)


async def many_increments(url: str) -> None:
    async with connect(url) as one, connect(url) as other:
        async with one.channel("c").state.watch() as watch:
            both = [client.channel("c").state.increment("n") for client in (one, other) for _ in range(100)]
            acks = await asyncio.gather(*both, one.channel("c").state.set("text", "t"))
            await watch.reached(max(ack.offset for ack in acks))
            assert dict(watch) == dict(await other.channel("c").state.get()) == {"n": 200, "text": "t"}
            changes = [await anext(watch) for _ in acks]
        assert [change.version for change in changes] == sorted(ack.offset for ack in acks)
        assert [change.value for change in changes if change.key == "n"] == list(range(1, 201))


def test_one_bad_change_harms_no_other_that_went_with_it() -> None:
    async def story(url: str) -> None:
        async with connect(url) as client:
            state = client.channel("c").state
            await state.set("text", "t")
            writes = [state.increment(key) for key in ("n", "text", "n", "text", "n")]
            done = await asyncio.gather(*writes, return_exceptions=True)
            assert [type(each) is outlast.NotANumber for each in done] == [False, True, False, True, False]
            assert await state.get_value("n") == 3

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


def test_limits() -> None:
    async def story(url: str) -> None:
        async with connect(url) as client:
            state, other = client.channel("keys").state, client.channel("bytes").state
            await state.update([Set(f"{number}", number) for number in range(STATE_KEYS_MAX)])
            await refused(state.set("one more", 1), "state_keys", STATE_KEYS_MAX)
            await refused(state.set("0", bytes(STATE_VALUE_BYTES_MAX + 1)), "state_value_bytes", STATE_VALUE_BYTES_MAX)
            await state.update([Delete("0"), Set("one more", 1)])
            assert len(await state.get()) == STATE_KEYS_MAX
            for number in range(STATE_BYTES_MAX // STATE_VALUE_BYTES_MAX):
                await other.set(f"{number}", bytes(STATE_VALUE_BYTES_MAX - 1))
            await refused(other.set("x", b""), "state_bytes", STATE_BYTES_MAX)
            await refused(other.set("0", bytes(STATE_VALUE_BYTES_MAX)), "state_bytes", STATE_BYTES_MAX)
            await other.set("0", bytes(STATE_VALUE_BYTES_MAX - 2))
            await other.set("x", b"")
            assert len(await other.get()) == 9

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


async def refused(write: Any, limit: str, value: int) -> None:
    with pytest.raises(outlast.LimitExceeded) as caught:
        await write
    assert caught.value.detail == {"limit": limit, "value": value}


def test_a_watch_holds_what_the_broker_holds_whoever_writes() -> None:
    """Random changes by two clients, and a channel that is trimmed under the watch."""
    with running_broker() as broker, seeded_random() as chance:
        tell(partial(follow_two_writers, chance), f"outlast+unix://{broker.path}")


async def follow_two_writers(chance: random.Random, url: str) -> None:
    async with (
        connect(url, client_id="one") as one,
        connect(url, client_id="two") as two,
        one.channel("c").state.watch() as watch,
    ):
        await asyncio.gather(*(write_randomly(client, chance, 60 * FACTOR) for client in (one, two)))
        last = await one.channel("c").state.set("last", "of all")
        held: dict[str, Data] = {}
        async for change in watch:
            held.pop(change.key, None)
            held.update({} if change.deleted else {change.key: change.value})
            if change.key == "last":
                break
        truth = await two.channel("c").state.get()
        assert held == dict(watch) == dict(truth)
        assert watch.entries == truth.entries
        assert watch.position == truth.position == last.position


async def write_randomly(client: outlast.Client, chance: random.Random, count: int) -> None:
    channel = client.channel("c")
    for _ in range(count):
        with contextlib.suppress(outlast.VersionMismatch, outlast.NotANumber):
            ack = await channel.state.update(random_change(chance) for _ in range(chance.choice([1, 1, 3])))
            if chance.random() < 0.1:
                await channel.truncate(before=ack.last + 1)


def random_change(chance: random.Random) -> Change:
    key = chance.choice("abcde")
    version = chance.choice([None, None, None, 0])
    values: list[Data] = [chance.randrange(100), "text"]
    value = chance.choice(values)
    changes: list[Change] = [Set(key, value, version), Delete(key, version), Increment(key, chance.randint(-9, 9))]
    return chance.choice(changes)
