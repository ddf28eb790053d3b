"""Does it get dearer as it grows?

Measures: server CPU per delivered message and latency at a fixed small rate, as one thing grows 10 and 100
times: channels (5,000 messages per second spread over 100, 1,000, 10,000), readers of one channel (10, 100,
1,000 at 200 messages per second), records in the log (10,000, 100,000, 1,000,000, then 1,000 messages per
second); with the last also the time that attaching at the end takes.
Good: CPU per message falls with readers, stays within 2 times over channels, does not change with the log's
length; neither does attaching.
Near: for channels, pages per commit; for readers, a write each; for records, nothing that should grow.
"""

from __future__ import annotations

from array import array
from time import perf_counter

from ..run import Result, Run, each, shared, spread

CASES = (
    "100 channels", "1,000 channels", "10,000 channels", "10 readers", "100 readers", "1,000 readers",
    "10,000 records", "100,000 records", "1,000,000 records",
)  # fmt: skip
ATTACHING = 50
UNIT = 500


async def measure(run: Run, case: str) -> Result:
    amount, kind = case.replace(",", "").split()
    count = run.plan.scaled(int(amount), least=10)
    run.start()
    return await {"channels": channels, "readers": readers, "records": records}[kind](run, count)


async def channels(run: Run, count: int) -> Result:
    lanes = run.add_lanes(count, window=0, sample=1)
    await run.read(shared(lanes, 50))
    await run.write(shared(lanes, 50))
    return await run.paced(5_000.0, per_tick=5)


async def readers(run: Run, count: int) -> Result:
    lanes = run.add_lanes(1, window=0, sample=1)
    await run.read([lanes] * count)
    await run.write(each(lanes))
    return await run.paced(200.0)


async def records(run: Run, count: int) -> Result:
    lanes = run.add_lanes(1, window=4 * UNIT, unit=UNIT, sample=1)
    await run.write(each(lanes))
    await run.preload(lanes[0], count)
    attached = array("d")
    for _ in range(ATTACHING):
        begin_s = perf_counter()
        reader = (await run.read([lanes], start=lanes[0].sent))[0]
        attached.append(reader.opened_s - begin_s)
    return spread("attach", attached) | await run.paced(1_000.0)
