"""A change of state that was acknowledged is there, once, whatever ended the broker and whatever retention took."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import outlast
import pytest
from outlast_protocol import Encoding, ErrorCode
from outlast_protocol.batch import encode_data, encode_labelled
from outlast_protocol.frames import UNCONDITIONAL, Configure, Publish, Truncate
from outlast_protocol.operations import Op, Operation
from outlast_protocol.session_frames import State

from tests.support.broker import BrokerProcess, RawClient, broker_process, socket_path
from tests.support.chance import FACTOR, chance
from tests.support.home import Home, home
from tests.support.state_model import StateModel

TIMEOUT_S = 40
ROUNDS, UPDATES = 3, 60 * FACTOR
WRITERS, INCREMENTS, CRASHES = 10, 60 * FACTOR, 3
KEYS = "abcdefgh"

Changes = list[tuple[Operation, object]]


def restart(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.terminate()
    assert broker.exit_code() == 0
    return place.start()


def crash(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.kill()
    return place.start()


def publish(client: RawClient, number: int, changes: Changes) -> int | ErrorCode:
    """The offset of the first change, or why none was done."""
    rows = []
    for operation, value in changes:
        data = encode_data(json.loads(json.dumps(value)))[1] if operation.op is Op.SET else b""
        rows.append(((int(Encoding.JSON), None, (), operation, 0), data))
    batch = encode_labelled(client.id, rows)
    answer = client.ask(Publish(client.request(), number, 0, UNCONDITIONAL, 0, batch))
    return answer[1] if type(answer) is tuple else ErrorCode(answer.code)


def held(client: RawClient, channel: str) -> dict[str, tuple[int, object]]:
    rows = client.result(State(client.request(), channel))["state"]
    return {key: (version, json.loads(data)) for key, version, _, _, _, data in rows}


def random_changes(rng: random.Random, model: StateModel) -> Changes:
    changes: Changes = []
    for _ in range(rng.choice([1, 1, 1, 4])):
        key = rng.choice(KEYS)
        version = rng.choice([None, None, None, model.version(key), 0, 10**9])
        changes.append(
            rng.choice([
                (Operation(Op.SET, key=key, version=version), rng.randrange(1_000)),
                (Operation(Op.SET, key=key, version=version), ["x" * rng.randrange(300)]),
                (Operation(Op.UNSET, key=key, version=version), None),
                (Operation(Op.INCREMENT, key=key, by=rng.randint(-9, 9)), None),
            ])
        )  # fmt: skip
    return changes


@pytest.mark.parametrize("between", [restart, crash])
@pytest.mark.parametrize("settings", [{}, {"journal_bytes": 1, "journal_age_ms": 1}], ids=["default", "tiny-journal"])
def test_state_survives_restarts_and_retention(
    between: Callable[[Home, BrokerProcess], BrokerProcess], settings: dict[str, int], tmp_path: Path
) -> None:
    name = f"state-{between.__name__}-{len(settings)}"
    with chance(name) as rng, home(tmp_path, **settings) as place:
        broker, model, done = place.start(), StateModel(), 0
        client = broker.client("writer")
        client.open("room")
        client.result(Configure(client.request(), "room", {"records": 20}))
        for _ in range(ROUNDS):
            done += write_randomly(rng, client, model)
            assert held(client, "room") == model.held
            client.close()
            broker = between(place, broker)
            client = broker.client("writer")
            assert held(client, "room") == model.held
        info = client.info("room")
        assert info["last"] == done
        assert info["first"] > done // 2, "retention took most of what wrote the state"


def write_randomly(rng: random.Random, client: RawClient, model: StateModel) -> int:
    """How many changes were done: the model agrees with the broker about each batch, and about its offsets."""
    number = client.open("room").number
    done = 0
    for _ in range(UPDATES):
        changes, last = random_changes(rng, model), client.info("room")["last"]
        refused = model.do_all(changes, last + 1)
        assert publish(client, number, changes) == (refused or last + 1), changes
        done += 0 if refused else len(changes)
        if rng.random() < 0.05:
            client.result(Truncate(client.request(), "room", last + 1))
    return done


def test_state_survives_the_loss_of_every_record(tmp_path: Path) -> None:
    with home(tmp_path, journal_bytes=1, journal_age_ms=1) as place:
        client = place.start().client("writer")
        number = client.open("room").number
        publish(client, number, [(Operation(Op.SET, key="kept"), [1]), (Operation(Op.INCREMENT, key="n", by=5), None)])
        client.result(Truncate(client.request(), "room", 3))
        for _ in range(2):
            client = crash(place, place.start()).client("writer")
            assert held(client, "room") == {"kept": (1, [1]), "n": (2, 5)}
        number = client.open("room").number
        assert publish(client, number, [(Operation(Op.INCREMENT, key="n", by=1), None)]) == 3
        assert held(client, "room") == {"kept": (1, [1]), "n": (3, 6)}


def test_every_increment_counts_once_while_the_broker_is_killed_again_and_again(tmp_path: Path) -> None:
    with home(tmp_path, journal_bytes=4_096) as place:
        asyncio.run(asyncio.wait_for(count_through_crashes(place), TIMEOUT_S))


async def count_through_crashes(place: Home) -> None:
    broker = place.start()
    async with (
        outlast.connect(place.url, backoff_base_ms=1, backoff_cap_ms=20) as client,
        client.channel("room").state.watch() as watch,
    ):
        state = client.channel("room").state
        writers = [asyncio.create_task(increment(state)) for _ in range(WRITERS)]
        for crashes in range(1, CRASHES + 1):
            await seen(watch, crashes * WRITERS * INCREMENTS // (CRASHES + 1))
            await asyncio.to_thread(broker.kill)
            broker = await asyncio.to_thread(place.start)
        await seen(watch, WRITERS * INCREMENTS)
        offsets = sorted(offset for each in await asyncio.gather(*writers) for offset in each)
        assert offsets == list(range(1, WRITERS * INCREMENTS + 1))
        assert dict(await state.get()) == dict(watch) == {"n": WRITERS * INCREMENTS}


async def increment(state: outlast.SharedState) -> list[int]:
    return [(await state.increment("n")).offset for _ in range(INCREMENTS)]


async def seen(watch: outlast.StateWatch, number: int) -> None:
    """Every change shows the number that its place in the log says."""
    async for change in watch:
        assert change.value == change.version
        if change.version >= number:
            return


def test_a_watch_survives_what_was_trimmed_while_the_broker_was_elsewhere(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(watch_over_a_gap(tmp_path / "data"), TIMEOUT_S))


async def watch_over_a_gap(data: Path) -> None:
    with socket_path() as path, socket_path() as elsewhere:
        with broker_process(data, path):
            client = outlast.connect(f"outlast+unix://{path}", backoff_base_ms=1, backoff_cap_ms=20)
            await client.__aenter__()
            watch = await client.channel("room").state.watch().__aenter__()
            await client.channel("room").state.update([outlast.Set("gone", 1), outlast.Increment("n", 5)])
            assert [(await anext(watch)).value for _ in range(2)] == [1, 5]
        with broker_process(data, elsewhere):
            async with outlast.connect(f"outlast+unix://{elsewhere}") as other:
                room = other.channel("room")
                ack = await room.state.update([outlast.Delete("gone"), outlast.Increment("n", 1)])
                await room.truncate(before=ack.last + 1)
        with broker_process(data, path):
            changes = [await anext(watch) for _ in range(2)]
            assert [(each.key, each.value, each.version, each.deleted) for each in changes] == [
                ("n", 6, 4, False),
                ("gone", None, 4, True),
            ]
            await client.channel("room").state.increment("n")
            assert ((await anext(watch)).value, dict(watch)) == (7, {"n": 7})
            await watch.close()
            await client.close()
