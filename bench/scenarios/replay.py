"""A reader comes late and wants it all.

Measures: messages per second to one client that reads a million messages of 64 bytes from the start.
Good: above 3 million messages per second; the server's memory does not grow by the size of the log.
Near: memory copies (checksum, socket) and the client; the log is in the page cache.
"""

from __future__ import annotations

from .. import gauge
from ..run import Result, Run, each

CASES = ("a million",)
MESSAGES = 1_000_000
UNIT = 500
IN_FLIGHT = 4


async def measure(run: Run, case: str) -> Result:
    lane = run.add_lanes(1, UNIT * IN_FLIGHT, UNIT)[0]
    run.start()
    await run.write(each([lane]))
    await run.preload(lane, run.plan.scaled(MESSAGES, least=UNIT))
    await run.sleep(min(0.5, run.plan.warmup_s))
    begin = run.reading()
    await run.read(each([lane]), "earliest")
    while run.delivered < lane.sent:
        await run.sleep(0.001)
    end = run.reading()
    return gauge.between(begin, end) | run.verdict(run.complete)
