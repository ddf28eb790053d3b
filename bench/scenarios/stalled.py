"""One reader of a hundred stops reading.

Measures: latency and server memory with 100 subscribers at 1,000 messages of 1 KB per second, when all of
them read and when one of them has stopped; it reads on at the end and must then get everything.
Good: no difference: the others' p99 and the server's memory stay what they were (promise 5).
Near: nothing new; the bound is on what the server keeps for the stalled one (1 MB and a socket buffer).
"""

from __future__ import annotations

from array import array

from ..run import Result, Run, each

CASES = ("all read", "one stalled")
READERS = 100
RATE = 1_000.0
MESSAGE_BYTES = 1_024


async def measure(run: Run, case: str) -> Result:
    run.load.set_message(MESSAGE_BYTES)
    lanes = run.add_lanes(1, window=0, sample=8)
    run.start()
    await run.read([lanes] * run.plan.scaled(READERS, least=2))
    odd = (await run.read([lanes], latencies=array("d")))[0]
    await run.write(each(lanes))
    if case == "one stalled":
        odd.transport.pause_reading()
    result = await run.measured_pace(RATE)
    if case == "one stalled":
        odd.transport.resume_reading()
    return result | run.verdict(await run.drain())
