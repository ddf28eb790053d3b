"""A graceful stop: what was accepted is acknowledged, the rest is resent once, and clients come back when asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import Deliver, Error, GoAway, Published
from outlast_protocol.limits import CREDIT_BYTES_MAX

from tests.support.broker import BrokerProcess, RawClient
from tests.support.chance import FACTOR, chance
from tests.support.home import Home, home
from tests.support.ledger import read_channel

TIMEOUT_S = 40
CLIENTS, STOPS = 4, 4 * FACTOR
COME_BACK_MS = 150
DRAIN_MS = 400


# --- the client -----------------------------------------------------------------------------------------------


class Agent:
    """Publishes without pause through every stop; reads along what all agents publish."""

    def __init__(self, client: outlast.Client, name: str) -> None:
        self.channel = client.channel("room")
        self.name = name
        self.acks: list[outlast.Ack] = []
        self.seen: list[outlast.Data] = []
        self.done = False

    async def publish(self) -> None:
        while not self.done:
            first = len(self.acks)
            self.acks += await asyncio.gather(
                *[self.channel.publish_nowait([self.name, index]) for index in range(first, first + 5)]
            )

    async def read(self) -> None:
        async for record in self.channel.subscribe(start="earliest"):
            self.seen.append(record.data)
            assert record.offset == len(self.seen)
            if record.name == "end":
                return


class Comings:
    """When a client was sent away at the earliest, and how long it then stayed away."""

    def __init__(self) -> None:
        self.waits_ms: list[float] = []
        self._state = ""
        self._sent_away_s: float | None = None

    def on_state(self, state: str, reason: str) -> None:
        self._state = state
        if state == "connecting" and self._sent_away_s is not None:
            self.waits_ms.append((time.monotonic() - self._sent_away_s) * 1000)
            self._sent_away_s = None

    def about_to_stop(self) -> None:
        """The broker can only say GOAWAY after this moment; a client that is not there does not hear it."""
        self._sent_away_s = time.monotonic() if self._state == "open" else None


def test_sigterm_under_load_loses_nothing_and_stores_nothing_twice(tmp_path: Path) -> None:
    with chance("leaving/load") as rng, home(tmp_path, come_back_ms=COME_BACK_MS) as place:
        place.start()
        pauses = [rng.randint(20, 120) for _ in range(STOPS)]
        agents, _ = asyncio.run(live_through(place, pauses))
        stored = read_channel(place.start().client("auditor"), "room")
        kept = [record.decoded() for record in stored.records.values()]
        for agent in agents:
            mine = [data for data in kept if isinstance(data, list) and data[0] == agent.name]
            assert mine == [[agent.name, index] for index in range(len(agent.acks))], f"{agent.name}: lost or twice"
            for index, ack in enumerate(agent.acks):
                assert kept[ack.offset - 1] == [agent.name, index]
            assert agent.seen == kept, f"{agent.name} saw another channel"


def test_clients_stay_away_as_long_as_they_were_asked(tmp_path: Path) -> None:
    """Whatever they were doing when GOAWAY came."""
    with chance("leaving/away") as rng, home(tmp_path, come_back_ms=COME_BACK_MS) as place:
        place.start()
        _, comings = asyncio.run(live_through(place, [rng.randint(5, 50) for _ in range(STOPS)]))
        waits_ms = [wait_ms for coming in comings for wait_ms in coming.waits_ms]
        assert len(waits_ms) >= STOPS, "hardly a client was sent away"
        assert min(waits_ms) >= COME_BACK_MS, "a client comes back too early"


async def live_through(place: Home, pauses: list[int]) -> tuple[list[Agent], list[Comings]]:
    comings = [Comings() for _ in range(CLIENTS)]
    async with asyncio.timeout(TIMEOUT_S), connected(place, comings) as agents, asyncio.TaskGroup() as tasks:
        for agent in agents:
            tasks.create_task(agent.read())
        publishing = [tasks.create_task(agent.publish()) for agent in agents]
        for acks in pauses:
            await more_acks(agents, acks)
            for coming in comings:
                coming.about_to_stop()
            await asyncio.to_thread(stop_and_start, place)
        for agent in agents:
            agent.done = True
        await asyncio.gather(*publishing)
        await agents[0].channel.publish("bye", name="end")
    return agents, comings


@asynccontextmanager
async def connected(place: Home, comings: list[Comings]) -> AsyncIterator[list[Agent]]:
    """One agent for each of `comings`, all on clients of their own."""
    if not comings:
        yield []
        return
    async with (
        outlast.connect(place.url, backoff_base_ms=1, backoff_cap_ms=20, on_state=comings[0].on_state) as client,
        connected(place, comings[1:]) as others,
    ):
        yield [Agent(client, f"agent{len(comings)}"), *others]


async def more_acks(agents: list[Agent], more: int) -> None:
    """Until all agents together have that many more."""
    wanted = sum(len(agent.acks) for agent in agents) + more
    while sum(len(agent.acks) for agent in agents) < wanted:
        await asyncio.sleep(0.001)


def stop_and_start(place: Home) -> None:
    place.stop()
    place.start()


# --- the wire -------------------------------------------------------------------------------------------------


def test_what_was_accepted_is_acknowledged_and_the_rest_refused(tmp_path: Path) -> None:
    """One client writes until the socket ends: what is acknowledged is stored, what is refused is not."""
    with home(tmp_path, come_back_ms=COME_BACK_MS) as place:
        broker = place.start()
        author, reader = broker.client("author"), broker.client("reader")
        number = author.open("room").number
        reader.subscribe(reader.open("room").number, CREDIT_BYTES_MAX)
        frames = {}
        for index in range(200):
            frame = author.publishing(number, b"%d" % index)
            frames[frame.request] = b"%d" % index
            with suppress(ConnectionError):
                author.send(frame)
            if index == 100:
                broker.terminate()
        acknowledged, refused = answers_until_the_end(author)
        assert broker.exit_code() == 0
        seen = delivered_until_the_end(reader)
        stored = {offset: each.data for offset, each in read_channel(place.start().client(), "room").records.items()}
        assert {offset: frames[request] for request, offset in acknowledged.items()} == stored == seen
        assert refused.isdisjoint(acknowledged)


def answers_until_the_end(author: RawClient) -> tuple[dict[int, int], set[int]]:
    """Offsets of what was acknowledged, requests that were refused. GOAWAY comes, once, before the first refusal."""
    acknowledged: dict[int, int] = {}
    refused: set[int] = set()
    farewells = 0
    while (frame := frame_or_end(author)) is not None:
        if isinstance(frame, Published):
            acknowledged |= {request: offset for request, offset, _ in frame.acks}
        elif isinstance(frame, GoAway):
            assert frame.retry_after_ms == COME_BACK_MS
            farewells += 1
        else:
            assert isinstance(frame, Error) and frame.code == ErrorCode.GOING_AWAY and farewells == 1, frame
            refused.add(frame.request)
    assert farewells == 1
    return acknowledged, refused


def delivered_until_the_end(reader: RawClient) -> dict[int, bytes]:
    seen: dict[int, bytes] = {}
    while (frame := frame_or_end(reader)) is not None:
        if isinstance(frame, Deliver):
            seen |= {record.offset: record.data for record in read_records(frame.batches)}
    return seen


def frame_or_end(client: RawClient) -> object:
    try:
        return client.receive()
    except (EOFError, ConnectionError):
        return None


@pytest.mark.parametrize("credit", [CREDIT_BYTES_MAX, 0], ids=["does-not-receive", "grants-no-credit"])
def test_one_sigterm_is_enough_with_a_stalled_reader(credit: int, tmp_path: Path) -> None:
    """Those who do not read are not waited for longer than the drain time."""
    with home(tmp_path, drain_ms=DRAIN_MS) as place:
        broker = place.start()
        stalled, author = broker.client("stalled"), broker.client("author")
        stalled.subscribe(stalled.open("room").number, credit)
        number = author.open("room").number
        for index in range(64):
            author.publish(number, b"%d" % index + bytes(100_000))
        started_s = time.monotonic()
        broker.terminate()
        assert broker.exit_code() == 0
        assert time.monotonic() - started_s < DRAIN_MS / 1000 + 2
        assert read_channel(place.start().client(), "room").last == 64


def test_an_idle_broker_leaves_at_once_and_cleans_up(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        broker: BrokerProcess = place.start()
        client = broker.client()
        client.open("room")
        place.stop()
        assert isinstance(frame_or_end(client), GoAway)
        assert frame_or_end(client) is None
        assert not Path(place.path).exists(), "the socket is still there"
