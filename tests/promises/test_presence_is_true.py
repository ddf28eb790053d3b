"""Presence is true: who is gone is not shown for longer than the time of grace, and who is there is shown again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import outlast
import pytest

from tests.support.broker import BrokerProcess, running_broker
from tests.support.chance import FACTOR, chance
from tests.support.home import Home, home
from tests.support.proxy import Proxy

TIMEOUT_S = 60
GRACE_S = 0.4
# What a busy machine may add to it. The exact time is shown with a clock that is told: tests/broker/test_attendance.py.
SLACK_S = 5
VIEWERS, PEOPLE, STEPS = 3, 6, 60 * FACTOR


class Viewer:
    """What a watch tells, put together, and checked: nothing contradicts what was told before."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, int], outlast.Member] = {}
        self.occupied = False
        self.snapshots = 0
        self.seen: list[tuple[float, outlast.PresenceEvent]] = []
        self._changed = asyncio.Event()

    async def follow(self, url: str) -> None:
        async with connect(url) as client:
            async for event in client.channel("room").presence.watch():
                self.take(event)
                self._changed.set()

    def take(self, event: outlast.PresenceEvent) -> None:
        self.seen.append((asyncio.get_running_loop().time(), event))
        match event:
            case outlast.PresenceSnapshot():
                self.snapshots += 1
                self.members = {(member.client_id, member.member_id): member for member in event.members}
                assert len(event.members) == event.present + event.away
            case outlast.MemberChanged(member=member):
                key = (member.client_id, member.member_id)
                if member.status == "left":
                    del self.members[key]
                else:
                    assert self.members.get(key) != member
                    self.members[key] = member
            case outlast.Occupied() | outlast.Vacated():
                assert isinstance(event, outlast.Occupied) != self.occupied
                self.occupied = not self.occupied

    def statuses(self) -> dict[str, str]:
        return {member.client_id: member.status for member in self.members.values()}

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def changes(self, client_id: str) -> list[tuple[float, outlast.Member]]:
        return [
            (when, event.member)
            for when, event in self.seen
            if isinstance(event, outlast.MemberChanged) and event.member.client_id == client_id
        ]


def connect(url: str, **options: Any) -> outlast.Client:
    return outlast.connect(url, backoff_base_ms=1, backoff_cap_ms=20, close_timeout=0, **options)


@asynccontextmanager
async def viewing(url: str, count: int = 1) -> AsyncIterator[list[Viewer]]:
    viewers = [Viewer() for _ in range(count)]
    tasks = [asyncio.create_task(viewer.follow(url)) for viewer in viewers]
    try:
        yield viewers
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
        assert not failed, failed


def run(story: Any) -> None:
    asyncio.run(asyncio.wait_for(story, TIMEOUT_S))


# --- a connection that is cut -------------------------------------------------------------------------------


def test_who_is_cut_off_is_away_for_the_time_of_grace_and_not_longer() -> None:
    with running_broker() as broker:
        run(cut_for_good(broker.path))


async def cut_for_good(path: str) -> None:
    async with (
        Proxy(f"{path}-proxy", path) as proxy,
        viewing(f"outlast+unix://{path}") as [viewer],
        connect(proxy.url, client_id="phone") as phone,
        phone.channel("room").presence.enter(grace=GRACE_S),
    ):
        await viewer.until(lambda: viewer.statuses() == {"phone": "present"})
        proxy.target = f"{path}-nowhere"
        proxy.cut_all()
        await viewer.until(lambda: viewer.statuses() == {"phone": "away"})
        await viewer.until(lambda: not viewer.occupied)
        (went, away), (gone, left) = viewer.changes("phone")[-2:]
        assert (away.status, left.status, left.reason) == ("away", "left", "timed_out")
        assert gone - went < GRACE_S + SLACK_S
        assert (left.since - away.since).total_seconds() >= GRACE_S - 0.01
        proxy.target = path
        await viewer.until(lambda: viewer.statuses() == {"phone": "present"})


def test_who_comes_back_in_time_was_never_gone() -> None:
    with running_broker() as broker:
        run(cut_often(broker.path))


async def cut_often(path: str) -> None:
    async with (
        Proxy(f"{path}-proxy", path) as proxy,
        viewing(f"outlast+unix://{path}") as [viewer],
        connect(proxy.url, client_id="phone") as phone,
        phone.channel("room").presence.enter(0, grace=30) as me,
    ):
        for count in range(1, 11):
            proxy.cut_all()
            await me.update(count)
            await viewer.until(lambda: [member.data for member in viewer.members.values()] == [count])  # noqa: B023
        assert "left" not in {member.status for _, member in viewer.changes("phone")}
        assert [type(event) for _, event in viewer.seen].count(outlast.Vacated) == 0


# --- a broker that ends -------------------------------------------------------------------------------------


def stop(place: Home, broker: BrokerProcess) -> None:
    place.stop()


def crash(place: Home, broker: BrokerProcess) -> None:
    broker.kill()


@pytest.mark.parametrize("end", [stop, crash])
def test_after_a_restart_those_who_are_there_are_shown_and_nobody_else(
    end: Callable[[Home, BrokerProcess], None], tmp_path: Path
) -> None:
    with home(tmp_path, come_back_ms=20) as place:
        run(restart(place, end))


async def restart(place: Home, end: Callable[[Home, BrokerProcess], None]) -> None:
    broker = place.start()
    async with AsyncExitStack() as stack:
        [viewer] = await stack.enter_async_context(viewing(place.url))
        clients = {name: await connect(place.url, client_id=name).__aenter__() for name in ("stays", "dies")}
        stack.push_async_callback(clients["stays"].close)
        for client in clients.values():
            await client.channel("room").presence.enter("here", grace=GRACE_S).__aenter__()
        await viewer.until(lambda: set(viewer.statuses()) == {"stays", "dies"})
        await asyncio.to_thread(end, place, broker)
        await clients["dies"].close()
        snapshots = viewer.snapshots
        await asyncio.to_thread(place.start)
        await viewer.until(lambda: viewer.snapshots > snapshots and viewer.statuses() == {"stays": "present"})
        started = next(index for index, (_, event) in enumerate(viewer.seen) if event is last_snapshot(viewer))
        assert "dies" not in str(viewer.seen[started:])


def last_snapshot(viewer: Viewer) -> outlast.PresenceEvent:
    return [event for _, event in viewer.seen if isinstance(event, outlast.PresenceSnapshot)][-1]


# --- everything at once -------------------------------------------------------------------------------------


class Person:
    """Comes and goes, through a network that cuts; knows when it was last there."""

    def __init__(self, name: str, proxy: Proxy) -> None:
        self.name = name
        self.data: outlast.Data = None
        self.gone_since: float | None = 0.0
        self._proxy = proxy
        self._stack = AsyncExitStack()
        self._me: outlast.Membership | None = None

    async def step(self, rng: random.Random) -> None:
        self.data = rng.random()
        if self._me is None:
            self.gone_since = None
            client = await self._stack.enter_async_context(connect(self._proxy.url, client_id=self.name))
            entering = client.channel("room").presence.enter(self.data, grace=GRACE_S)
            self._me = await self._stack.enter_async_context(entering)
        elif rng.random() < 0.5:
            await self._me.update(self.data)
        else:
            await self.go(politely=rng.random() < 0.5)

    async def go(self, politely: bool = True) -> None:
        if not politely:
            self._proxy.cut_all()
        await self._stack.aclose()
        self._me = None
        self.gone_since = asyncio.get_running_loop().time()


def test_presence_is_true_whatever_happens(tmp_path: Path) -> None:
    with chance("presence") as rng, home(tmp_path, come_back_ms=20) as place:
        run(everything(place, rng))


async def everything(place: Home, rng: random.Random) -> None:
    broker = place.start()
    async with Proxy(f"{place.path}-proxy", place.path) as proxy, viewing(place.url, VIEWERS) as viewers:
        people = [Person(f"person {index}", proxy) for index in range(PEOPLE)]
        back = 0.0
        for step in range(STEPS):
            if step % 20 == 10:
                await asyncio.to_thread(broker.kill)
                broker = await asyncio.to_thread(place.start)
                back = asyncio.get_running_loop().time()
            elif rng.random() < 0.3:
                proxy.cut_all()
            await rng.choice(people).step(rng)
            check(viewers, people, back)
        there = {person.name: person.data for person in people if person.gone_since is None}
        for viewer in viewers:
            await viewer.until(lambda: shown(viewer) == there)  # noqa: B023
        for person in people:
            await person.go()
        for viewer in viewers:
            await viewer.until(lambda: not viewer.members and not viewer.occupied)  # noqa: B023


def shown(viewer: Viewer) -> dict[str, outlast.Data]:
    return {member.client_id: member.data for member in viewer.members.values() if member.status == "present"}


def check(viewers: list[Viewer], people: list[Person], back: float) -> None:
    """Nobody shows one who has been gone for longer than the time of grace, since the broker came `back` at least."""
    now = asyncio.get_running_loop().time()
    for person in people:
        if person.gone_since is not None and now - max(person.gone_since, back) > GRACE_S + SLACK_S:
            assert all(person.name not in viewer.statuses() for viewer in viewers)
