"""Charges a card once, however often and from however many places it is asked to.

    python claims.py [CHANNEL]

Run it again: it says what was charged the first time. Two agents are one program here, so that it ends by itself; they
need not be.
"""

from __future__ import annotations

import asyncio
import sys

import outlast


async def charge_card(order: int, attempt: int) -> outlast.Data:
    """Whoever really takes the money. Give it the order as its idempotency key, too, if it knows such a thing."""
    print(f"charging order {order}, attempt {attempt}", flush=True)
    await asyncio.sleep(0.1)
    return {"order": order, "charged": "9.90 EUR"}


async def agent(name: str, channel: str, order: int) -> None:
    async with (
        outlast.connect(client_id=name) as client,
        client.channel(channel).claim(f"charge:{order}", ttl=10, wait=True) as claim,
    ):
        if claim.granted:
            # Above 1, somebody was here before and did not say what came of it: ask the bank before you charge again.
            receipt = await charge_card(order, claim.attempt)
            await claim.settle(receipt)
        print(f"{name}: {claim.result}", flush=True)


async def main(channel: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        for name in ("agent-1", "agent-2"):
            tasks.create_task(agent(name, channel, 42))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:claims"))
