"""What can be measured, by name, in the order in which it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from outlast import Client

from .batch import batch
from .figures import Found, Row
from .flood import flood
from .plan import Plan
from .replay import replay
from .single import single
from .site import Site, on_site
from .stream import stream

Scenario = Callable[[Site], Awaitable[Found]]
SCENARIOS: dict[str, Scenario] = {scenario.__name__: scenario for scenario in (stream, flood, batch, replay, single)}


def summary(name: str) -> str:
    """The first line of what a scenario says of itself."""
    return (SCENARIOS[name].__doc__ or "").partition("\n")[0]


async def measure(name: str, plan: Plan, client: Client, url: str) -> Row:
    """Runs one scenario on channels of its own. What does not come to an end is given up, and says so."""
    found, note = None, f"gave up after {plan.patience_s:g} s"
    async with on_site(name, plan, client, url) as site:
        try:
            async with asyncio.timeout(plan.patience_s):
                found, note = await SCENARIOS[name](site), site.note
        except TimeoutError:
            pass
        sent, acked, delivered = (
            sum(getattr(lane, count) for lane in site.lanes) for count in ("sent", "acked", "delivered")
        )
    return Row(name, sent, acked, delivered, found, note)
