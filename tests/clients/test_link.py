"""A connection that comes back: states, refusals, GOAWAY, requests that outlive a wire and those that do not."""

from __future__ import annotations

import asyncio

import outlast
import pytest
from outlast import link as link_module
from outlast.options import LinkState
from outlast_protocol import ErrorCode
from outlast_protocol.frames import HEADER, Delete, Error, GoAway, Info, Open, Opened, Pong, Publish, Reply, encode

from .fake_broker import EPOCH, NUMBER, FakeBroker, scenario, welcome

INFO = {
    "channel": "c", "number": NUMBER, "epoch": EPOCH, "first": 1, "last": 3, "bytes": 10, "created_ms": 1,
    "last_ms": 2, "subscribers": 0, "retention": {},
}  # fmt: skip


class States:
    """What `on_state` was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[LinkState, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, state: LinkState, reason: str) -> None:
        self.seen.append((state, reason))
        self._changed.set()

    @property
    def names(self) -> list[LinkState]:
        return [state for state, _ in self.seen]

    async def until(self, state: LinkState, count: int) -> None:
        while self.names.count(state) < count:
            self._changed.clear()
            await self._changed.wait()


@scenario
async def test_hello(broker: FakeBroker) -> None:
    client = broker.connect(client_id="me", producer=(77, 3), token="secret", heartbeat_ms=9_000)
    entering = asyncio.create_task(client.__aenter__())
    hello = await (await broker.accepted()).greet()
    await entering
    assert (hello.versions, hello.client_id, hello.producer) == ([1], "me", [77, 3])
    assert (hello.token, hello.heartbeat_ms) == ("secret", 9_000)
    assert hello.agent.startswith("outlast-python/")
    await client.close()


@scenario
async def test_the_name_that_the_broker_gives_is_kept(broker: FakeBroker) -> None:
    async with broker.joined(welcome(client_id="given")) as (client, line):
        assert client.client_id == "given"
        line.cut()
        line = await broker.accepted()
        assert (await line.greet(welcome(client_id="given"))).client_id == "given"


@scenario
async def test_states_are_told(broker: FakeBroker) -> None:
    states = States()
    async with broker.joined(on_state=states) as (client, line):
        assert client.state == "open"
        line.cut()
        await states.until("waiting", 1)
        await broker.greeted()
        await states.until("open", 2)
    assert states.names == ["connecting", "open", "waiting", "connecting", "open", "closed"]
    reasons = dict(states.seen)
    assert broker.url in reasons["connecting"] and "fake/1" in reasons["open"]
    assert "next attempt in" in reasons["waiting"]
    with pytest.raises(outlast.Closed):
        await client.channel("c").info()


@scenario
async def test_a_broken_on_state_harms_nobody(broker: FakeBroker) -> None:
    async with broker.joined(on_state=lambda state, reason: 1 / 0) as (client, _):
        assert client.state == "open"


@scenario
async def test_comes_back_after_many_failures(broker: FakeBroker) -> None:
    states = States()
    async with broker.joined(on_state=states) as (client, _):
        await broker.stop()
        await states.until("waiting", 4)
        broker.remove_socket()
        await states.until("waiting", 8)
        await broker.listen()
        await broker.greeted()
        await states.until("open", 2)
        assert client.state == "open"


@scenario
async def test_goaway_is_obeyed(broker: FakeBroker) -> None:
    clock = asyncio.get_running_loop().time
    async with broker.joined() as (client, line):
        line.say(GoAway("upgrade", 60))
        left_s = clock()
        await line.ended.wait()
        await broker.greeted()
        assert clock() - left_s >= 0.059


@scenario
async def test_after_goaway_requests_wait_for_the_next_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        first = await line.expect(Info)
        line.say(GoAway("upgrade", 1))
        await line.expect_nothing()
        later = asyncio.create_task(client.channel("d").info())
        await line.expect_nothing()
        line.say(Reply(first.request, INFO))
        assert (await asking).last == 3
        await line.ended.wait()
        line = await broker.greeted()
        line.say(Reply((await line.expect(Info, channel="d")).request, INFO))
        await later


@scenario
async def test_a_broker_that_leaves_for_ever_is_left(broker: FakeBroker) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_module, "LEAVE_TIMEOUT_MS", 10)
        async with broker.joined() as (client, line):
            asking = asyncio.create_task(client.channel("c").info())
            await line.expect(Info)
            line.say(GoAway("upgrade", 1))
            await line.ended.wait()
            line = await broker.greeted()
            line.say(Reply((await line.expect(Info)).request, INFO))
            await asking


@scenario
async def test_harmless_requests_are_asked_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        await line.expect(Info)
        line.cut()
        line = await broker.greeted()
        line.say(Reply((await line.expect(Info)).request, INFO))
        assert (await asking).position == outlast.Position(EPOCH, 3)


@scenario
async def test_going_away_is_asked_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        line.refuse((await line.expect(Info)).request, ErrorCode.GOING_AWAY, retry_after_ms=1)
        line.say(Reply((await line.expect(Info)).request, INFO))
        await asking


@scenario
async def test_deleting_is_not_asked_again(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").delete())
        await line.expect(Delete)
        line.cut()
        with pytest.raises(outlast.ConnectionLost):
            await asking
        await (await broker.greeted()).expect_nothing()


@scenario
async def test_a_fatal_error_is_told_and_the_connection_made_anew(broker: FakeBroker) -> None:
    states = States()
    async with broker.joined(on_state=states) as (client, line):
        waiting = client.channel("c").publish_nowait("a")
        await line.open()
        line.refuse((await line.expect(Publish)).request, ErrorCode.INTERNAL)
        await line.ended.wait()
        line = await broker.greeted()
        await line.open()
        await line.publish(1, sequence=1)
        await waiting
        assert "because the test says so" in dict(states.seen)["waiting"]


@scenario
async def test_an_error_that_nobody_asked_for_is_only_logged(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        line.refuse(0, ErrorCode.DAMAGED)
        line.refuse(4_711, ErrorCode.BAD_BODY)
        await line.expect_nothing()
        assert client.state == "open"


@scenario
async def test_answers_to_nobody_and_of_the_wrong_kind(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        line.say(Reply(4_711, {}), Opened(4_712, 1, 1, 1, 1), Pong(1))
        await line.expect_nothing()
        asking = asyncio.create_task(client.channel("c").info())
        line.say(Opened((await line.expect(Info)).request, 1, 1, 1, 1))
        await line.ended.wait()
        line = await broker.greeted()
        line.say(Reply((await line.expect(Info)).request, INFO))
        await asking


@scenario
async def test_a_frame_that_says_nothing_valid_ends_the_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        asking = asyncio.create_task(client.channel("c").info())
        request = (await line.expect(Info)).request
        nonsense = HEADER.pack(13, 0x2F, 0, 0) + bytes(4) + b"\xc0"
        line.write(nonsense + encode(Reply(request, INFO | {"last": 99})))
        await line.ended.wait()
        line = await broker.greeted()
        line.say(Reply((await line.expect(Info)).request, INFO))
        assert (await asking).last == 3


@scenario
async def test_a_refusal_on_coming_back_does_not_end_the_attempts(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        line.cut()
        line = await broker.accepted()
        line.say_early(Error(0, ErrorCode.UNSUPPORTED_VERSION, "too old"))
        await line.ended.wait()
        await broker.greeted()
        await client.channel("c")._link.ready()
        assert client.state == "open"


@scenario
async def test_numbers_are_not_carried_over_to_the_next_connection(broker: FakeBroker) -> None:
    async with broker.joined() as (client, line):
        first = client.channel("c").publish_nowait("a")
        await line.open(number=1)
        await line.publish(1, number=1)
        await first
        line.cut()
        second = client.channel("c").publish_nowait("b")
        line = await broker.greeted()
        await line.expect(Open)
        line.cut()
        line = await broker.greeted()
        await line.open(number=2)
        await line.publish(2, number=2, sequence=2)
        await second
