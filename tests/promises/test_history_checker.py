"""Everything at once: clients that come and go, a network that cuts, a broker that pauses and dies; then the judge.

OUTLAST_FACTOR makes it last longer: 60 is about ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import outlast
import pytest

from tests.support.broker import socket_path
from tests.support.chance import FACTOR, branch, chance
from tests.support.history import History, Operation, Seen, anomalies, check
from tests.support.home import Home, home
from tests.support.ledger import read_channel
from tests.support.proxy import Faults, Proxy

DURATION_S = 8.0 * FACTOR
AUTHORS, READERS = 5, 3
CHANNELS = ("one", "two")
PATIENCE_S = 30


class World:
    """One run: the histories of all channels, and the moment when everybody stops."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.histories = {channel: History() for channel in CHANNELS}
        self.ends_s = time.monotonic() + DURATION_S
        self.sessions = 0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends_s


# --- clients --------------------------------------------------------------------------------------------------


async def be_author(world: World, rng: random.Random) -> None:
    """Session after session, each a client of its own that leaves in the middle of what it does."""
    while not world.over:
        world.sessions += 1
        name = f"author{world.sessions}"
        with suppress(outlast.ConnectFailed):
            async with outlast.connect(
                world.proxy.url, client_id=name, timeout=1, close_timeout=0, backoff_base_ms=1, backoff_cap_ms=30
            ) as client:
                await publish_for_a_while(world, client, name, rng)


async def publish_for_a_while(world: World, client: outlast.Client, name: str, rng: random.Random) -> None:
    under_way: list[asyncio.Task[None]] = []
    channel = rng.choice(CHANNELS)
    operations = world.histories[channel].operations
    for index in range(1, rng.randint(2, 60)):
        condition = guess_last(operations) if rng.random() < 0.1 else None
        operation = Operation(name, index, f"{name}/{index}", time.monotonic(), condition)
        operations.append(operation)
        under_way.append(asyncio.get_running_loop().create_task(publish(client.channel(channel), operation)))
        if rng.random() < 0.4:
            await asyncio.wait(under_way, timeout=rng.choice((0.01, 0.2, 1)))
        if world.over:
            break
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


def guess_last(operations: list[Operation]) -> int:
    """What may well be the channel's last offset."""
    return max((operation.offset for operation in operations[-20:]), default=0)


async def publish(channel: outlast.Channel, operation: Operation) -> None:
    """Notes how it ended; a cancelled one stays `info`."""
    try:
        ack = await channel.publish(operation.data, if_offset=operation.condition)
    except outlast.OffsetMismatch:
        operation.end, operation.ended = "fail", time.monotonic()
    else:
        operation.end, operation.ended, operation.offset = "ok", time.monotonic(), ack.offset


async def be_reader(world: World, channel: str, seen: Seen, done: asyncio.Event) -> None:
    """One subscription over several clients: the position is all that it takes along. Resync is an anomaly here."""
    position: outlast.Position | None = None
    while not done.is_set():
        with suppress(outlast.ConnectFailed, TimeoutError):
            async with outlast.connect(world.proxy.url, timeout=1, backoff_base_ms=1, backoff_cap_ms=30) as client:
                start = {"after": str(position)} if position is not None else {"start": "earliest"}
                subscription = client.channel(channel).subscribe(**start)  # type: ignore[arg-type]
                async with asyncio.timeout(0.7):
                    async for record in subscription:
                        seen.records.append((record.offset, str(record.data)))
                        position = record.position


# --- the world ------------------------------------------------------------------------------------------------


def network(rng: random.Random) -> Faults:
    """Some connections last, most are cut somewhere."""
    if rng.random() < 0.3:
        return Faults(latency_s=rng.choice((0, 0.001, 0.005)))
    down = rng.choice((None, rng.randint(0, 30_000)))
    up = rng.choice((None, rng.randint(0, 8_000)))
    return Faults(down, up, latency_s=rng.choice((0, 0, 0.002)), reset=rng.random() < 0.3)


async def be_fate(world: World, place: Home, rng: random.Random) -> None:
    """A kill, a pause, silence or a cut of everything, every fraction of a second."""
    while not world.over:
        await asyncio.sleep(rng.uniform(0.05, 0.4))
        deed = rng.choice(("kill", "kill", "pause", "silence", "cut"))
        if deed == "kill":
            await asyncio.to_thread(place.start)
        elif deed == "pause":
            os.kill(place.pid, signal.SIGSTOP)
            await asyncio.sleep(rng.uniform(0.01, 0.3))
            os.kill(place.pid, signal.SIGCONT)
        elif deed == "silence":
            world.proxy.pause()
            await asyncio.sleep(rng.uniform(0.01, 0.2))
            world.proxy.resume()
        else:
            world.proxy.cut_all()


async def live(place: Home, path: str, rng: random.Random) -> World:
    async with asyncio.timeout(DURATION_S + PATIENCE_S), Proxy(path, place.path) as proxy:
        faults = branch(rng)
        proxy.plan = lambda index: network(faults)
        world, done = World(proxy), asyncio.Event()
        async with asyncio.TaskGroup() as readers:
            for index in range(READERS):
                channel = CHANNELS[index % len(CHANNELS)]
                seen = Seen(f"reader{index}", [])
                world.histories[channel].seen.append(seen)
                readers.create_task(be_reader(world, channel, seen, done))
            async with asyncio.TaskGroup() as others:
                others.create_task(be_fate(world, place, branch(rng)))
                for _ in range(AUTHORS):
                    others.create_task(be_author(world, branch(rng)))
            done.set()
    return world


def test_no_anomaly_in_a_bad_world(tmp_path: Path) -> None:
    with (
        chance("history") as rng,
        home(tmp_path, journal_bytes=5_000, journal_age_ms=50) as place,
        socket_path() as path,
    ):
        place.start()
        world = asyncio.run(live(place, path, rng), debug=False)
        auditor = place.start().client("auditor")
        for channel, history in world.histories.items():
            stored = read_channel(auditor, channel)
            history.final = [str(record.decoded()) for record in stored.records.values()]
            ends = [operation.end for operation in history.operations]
            print(f"{channel}: {len(history.final)} records;", *[f"{ends.count(end)} {end};" for end in set(ends)])
            check(history)
            assert ends.count("ok") > 50 and "info" in ends, "this world was too good or too bad to prove anything"
            assert all(len(seen.records) > 50 for seen in history.seen), "a reader hardly saw anything"


# --- the judge ------------------------------------------------------------------------------------------------

GOOD = History(
    [
        Operation("a", 1, "a/1", 1, end="ok", ended=2, offset=1),
        Operation("a", 2, "a/2", 3, end="ok", ended=6, offset=3),
        Operation("b", 1, "b/1", 4, end="ok", ended=5, offset=2),
        Operation("b", 2, "b/2", 6, end="info"),
        Operation("b", 3, "b/3", 7, condition=3, end="ok", ended=8, offset=4),
        Operation("c", 1, "c/1", 7, condition=3, end="fail", ended=8),
    ],
    [Seen("r", [(1, "a/1"), (2, "b/1"), (3, "a/2")])],
    ["a/1", "b/1", "a/2", "b/3"],
)


def with_final(*final: str) -> History:
    return replace(GOOD, final=list(final))


def with_seen(*records: tuple[int, str]) -> History:
    return replace(GOOD, seen=[Seen("r", list(records))])


def with_operation(which: int, **changes: object) -> History:
    operations = list(GOOD.operations)
    operations[which] = replace(operations[which], **changes)  # type: ignore[arg-type]
    return replace(GOOD, operations=operations)


BAD: list[tuple[str, History]] = [
    ("lost", with_final("a/1", "b/1", "a/2")),
    ("lost", with_final("a/1", "a/2", "b/1", "b/3")),
    ("lost", with_operation(3, end="ok", offset=0)),
    ("twice", with_final("a/1", "b/1", "a/2", "b/3", "b/2", "b/2")),
    ("from nowhere", with_final("a/1", "b/1", "a/2", "b/3", "x/1")),
    ("from nowhere", with_final("a/1", "b/1", "a/2", "b/3", "c/1")),
    ("hole", with_seen((1, "a/1"), (3, "a/2"))),
    ("hole", with_seen((1, "a/1"), (1, "a/1"))),
    ("hole", with_seen((2, "b/1"))),
    ("misread", with_seen((1, "b/1"))),
    ("misread", with_seen((1, "a/1"), (2, "b/1"), (3, "a/2"), (4, "b/3"), (5, "b/2"))),
    ("out of turn", with_operation(0, index=3)),
    ("against time", with_operation(1, ended=3.5)),
    ("against condition", with_operation(4, condition=2)),
]


def test_the_judge_accepts_what_is_right() -> None:
    assert anomalies(GOOD) == []
    assert anomalies(with_seen()) == []


@pytest.mark.parametrize(("kind", "history"), BAD)
def test_the_judge_notices(kind: str, history: History) -> None:
    found = anomalies(history)
    assert any(line.startswith(kind) for line in found), found
    with pytest.raises(AssertionError, match=kind):
        check(history)
