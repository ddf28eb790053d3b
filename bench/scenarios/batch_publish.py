"""One publisher pours into one channel.

Measures: messages per second from one connection in batches of 500 messages of 64 bytes, 4 batches in flight.
Good: above a million messages per second, far above what the disk could sync one by one.
Near: fsync and the copies of 18 MB/s and more through socket, journal and chunks; few system calls.
"""

from __future__ import annotations

from ..run import Result, Run, each

CASES = ("batches of 500",)
UNIT = 500
IN_FLIGHT = 4


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(1, UNIT * IN_FLIGHT, UNIT)
    run.start()
    await run.write(each(lanes))
    return await run.closed_loop()
