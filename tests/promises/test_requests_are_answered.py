"""Every request is answered once and its asker sees it, whoever dies: the broker, the agent, the connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import outlast

from tests.support.chance import chance
from tests.support.home import Home, home

TIMEOUT_S = 60
REQUESTS = 60
ROUNDS = 6


def connect(url: str, client_id: str) -> outlast.Client:
    return outlast.connect(url, client_id=client_id, backoff_base_ms=1, backoff_cap_ms=50, close_timeout=0)


class Deeds:
    """What agents did after their answer was taken for the one that counts."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self._more = asyncio.Event()

    def note(self, request: int) -> None:
        self.done.append(request)
        self._more.set()

    async def reach(self, count: int) -> None:
        while len(self.done) < count:
            self._more.clear()
            await self._more.wait()


async def work(url: str, deeds: Deeds) -> None:
    """An agent that does everything it is asked for."""
    async with connect(url, "agent") as client, client.channel("room").inbox(cursor="agent") as inbox:
        async for request in inbox:
            if await request.accept(request.text):
                deeds.note(request.id)


async def ask(url: str) -> list[outlast.Outcome]:
    async with connect(url, "person") as client:
        channel = client.channel("room")
        outcomes: list[outlast.Outcome] = []
        for start in range(0, REQUESTS, 3):
            asked = [channel.prompt(f"{number}", timeout=TIMEOUT_S) for number in range(start, start + 3)]
            outcomes += await asyncio.gather(*asked)
        return outcomes


async def disturb(place: Home, agents: list[asyncio.Future[None]], deeds: Deeds) -> None:
    """Kills the broker or one of the agents, in turns, each time after some more requests were answered."""
    with chance("requests") as dice:
        for turn in range(1, ROUNDS + 1):
            await deeds.reach(turn * REQUESTS // (ROUNDS + 2))
            if turn % 2:
                await asyncio.to_thread(place.start)
            else:
                victim = dice.randrange(len(agents))
                agents[victim].cancel()
                await asyncio.wait({agents[victim]})
                agents[victim] = asyncio.ensure_future(work(place.url, deeds))


async def live(place: Home) -> tuple[list[outlast.Outcome], list[int]]:
    deeds = Deeds()
    agents: list[asyncio.Future[None]] = [asyncio.ensure_future(work(place.url, deeds)) for _ in range(2)]
    try:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask(place.url))
            tasks.create_task(disturb(place, agents, deeds))
        return asking.result(), deeds.done
    finally:
        for agent in agents:
            agent.cancel()
        await asyncio.wait(agents)


async def history(url: str) -> list[outlast.Record]:
    async with connect(url, "judge") as client:
        return [record async for record in client.channel("room").history()]


def test_every_request_has_one_outcome(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.start()
        outcomes, done = asyncio.run(live(place), debug=False)
        records = asyncio.run(history(place.url), debug=False)
    assert [outcome.data for outcome in outcomes] == [f"{number}" for number in range(REQUESTS)]
    prompts = [record.offset for record in records if record.name == "outlast.prompt"]
    assert sorted(outcome.id for outcome in outcomes) == prompts and len(prompts) == REQUESTS
    assert len(done) == len(set(done)) and set(done) <= set(prompts), "no request was done by two agents"
    # An agent that is killed between its answer and its note has done nothing, and nobody else does it then.
    assert len(done) >= REQUESTS - ROUNDS // 2
