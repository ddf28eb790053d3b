"""Ten thousand sessions at once, over a few hundred connections.

Measures: as `sessions`, over 10,000 channels: 200 publisher and 200 subscriber connections with 50 channels
each, 8 messages of 64 bytes outstanding per channel (80,000 in all), durable before their ack.
Good: not more than 3 times the cost per message of `sessions`, for a batch has at most 8 messages here; disk
writes per message bounded, not a page per channel and commit.
Near: work per request in the server; pages written per commit.
"""

from __future__ import annotations

from ..run import Result, Run, shared

CASES = ("batched", "singles")
CHANNELS = 10_000
CONNECTIONS = 200
WINDOW = 8


async def measure(run: Run, case: str) -> Result:
    run.load.batched = case == "batched"
    lanes = run.add_lanes(run.plan.scaled(CHANNELS), WINDOW, sample=WINDOW)
    connections = run.plan.scaled(CONNECTIONS, least=4)
    run.start()
    await run.read(shared(lanes, connections))
    await run.write(shared(lanes, connections))
    return await run.closed_loop()
