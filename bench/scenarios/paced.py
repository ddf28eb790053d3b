"""How late is a message when the server is not busy?

Measures: latency from the moment a message was meant to be sent to its arrival at the subscriber, at 10,000
messages of 64 bytes per second spread evenly over 200 channels, each with its own two connections.
Good: p50 below 1 ms, p99 below 5 ms, on disk before delivery: less than two syncs of this disk.
Near: one fsync, two wake-ups of a sleeping core and the system calls between them.
"""

from __future__ import annotations

from ..run import Result, Run, each

CASES = ("10,000/s",)
CHANNELS = 200
RATE = 10_000.0


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(run.plan.scaled(CHANNELS, least=4), window=0, sample=1)
    run.start()
    await run.read(each(lanes))
    await run.write(each(lanes))
    return await run.paced(RATE, per_tick=10)
