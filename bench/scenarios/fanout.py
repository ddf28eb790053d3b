"""One agent, many watchers.

Measures: deliveries per second from one channel to 100 and to 1,000 subscriber connections, `paced` at 2,000
messages per second and `unpaced` with 64 messages outstanding.
Good: deliveries in the millions per second unpaced; paced to 100, a p99 below 10 ms.
Near: system calls, one write per subscriber and loop turn; with 1,000 subscribers the load's reads as well.
"""

from __future__ import annotations

from ..run import Result, Run, each

CASES = ("100 paced", "100 unpaced", "1000 paced", "1000 unpaced")
RATE = 2_000.0
WINDOW = 64


async def measure(run: Run, case: str) -> Result:
    readers = int(case.split()[0])
    paced = case.endswith(" paced")
    lanes = run.add_lanes(1, WINDOW, sample=16 if readers <= 100 else 64)
    run.start()
    await run.read([lanes] * run.plan.scaled(readers, least=2))
    await run.write(each(lanes))
    return await (run.paced(RATE) if paced else run.closed_loop())
