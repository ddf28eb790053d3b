"""Where a scenario takes place: channels of its own, which are gone afterwards, whatever happens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter, process_time
from typing import Self

import outlast
from outlast_broker.configuration.quantities import show_count

from ..options import token_source
from ..session import say
from .lane import Lane
from .plan import Plan

# For the case that this process is killed before it can delete them.
IDLE_TTL_MS = 3_600_000
_CONNECT_S = 5.0
_CLOSE_S = 1.0
_CLEAR_S = 5.0


class Site:
    """Two connections, as an agent and a viewer have them, and what may still be sent."""

    def __init__(self, scenario: str, plan: Plan, reader: outlast.Client, publisher: outlast.Client) -> None:
        self.plan = plan
        self.data = bytes(plan.message_bytes)
        self.lanes: list[Lane] = []
        self.names: list[str] = []
        self._prefix = f"bench:{secrets.token_hex(4)}:{scenario}"
        self._reader = reader
        self._publisher = publisher
        self._left = plan.messages_max

    async def open(self, count: int) -> list[Lane]:
        """Channels that exist and are open on both connections, so that no message pays for that."""
        names = [f"{self._prefix}:{index}" for index in range(len(self.names) + 1, len(self.names) + count + 1)]
        self.names += names
        lanes = await asyncio.gather(*map(self._open, names))
        self.lanes += lanes
        return lanes

    async def _open(self, name: str) -> Lane:
        out, back = self._publisher.channel(name), self._reader.channel(name)
        first = await out.publish(self.data)
        await back.configure(retention={"idle_ttl_ms": IDLE_TTL_MS})
        return Lane(out, back, first.last)

    def grant(self, messages: int) -> int:
        """How many of so many may be sent, which are then taken as sent."""
        granted = min(messages, self._left)
        self._left -= granted
        return granted

    @property
    def note(self) -> str:
        return "" if self._left else f"stopped after {self.plan.messages_max:,} messages, the most that it writes"


class Stopwatch:
    """Runs inside its `with`: time, and CPU time of this process."""

    def __enter__(self) -> Self:
        self._started_s, self._started_cpu_s = perf_counter(), process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed_s = self.running_s
        self.cpu_s = process_time() - self._started_cpu_s

    @property
    def running_s(self) -> float:
        return perf_counter() - self._started_s


@asynccontextmanager
async def on_site(scenario: str, plan: Plan, client: outlast.Client, url: str) -> AsyncIterator[Site]:
    """Leaving it deletes the channels: after the publisher has closed, or what it resends would make them anew."""
    publisher = outlast.connect(url, timeout=_CONNECT_S, close_timeout=_CLOSE_S, token=token_source())
    site = Site(scenario, plan, client, publisher)
    try:
        async with publisher:
            yield site
    finally:
        await clear(client, site.names)


async def clear(client: outlast.Client, names: list[str]) -> None:
    """Deletes the channels; says which are left."""
    try:
        async with asyncio.timeout(_CLEAR_S):
            deletions = (client.channel(name).delete() for name in names)
            outcomes = await asyncio.gather(*deletions, return_exceptions=True)
    except TimeoutError:
        outcomes = [TimeoutError() for _ in names]
    gone = (type(None), outlast.UnknownChannel)
    left = [name for name, outcome in zip(names, outcomes, strict=True) if not isinstance(outcome, gone)]
    if left:
        count = show_count(len(left), "channel")
        say(f"could not delete {left[0]}, {count} in all: the broker does when nobody has used them for an hour")
