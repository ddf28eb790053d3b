"""A thousand people come back while the others are talking.

Measures: time from their first SYN until each of 1,000 clients, all at once, has connected and got the 500
records it had missed (50 channels, 20 clients each), while 5,000 messages per second go through 100 other
channels; the latency of those meanwhile, beside the quiet time before.
Good: everybody has caught up within 2 seconds; the others' p99 stays below 50 ms.
Near: handshakes and socket writes in the server; fairness of its loop between feeding and live traffic.
"""

from __future__ import annotations

from array import array

from ..gauge import between
from ..lane import Lane
from ..pace import Pace
from ..run import Result, Run, each, shared, spread

CASES = ("1,000 clients",)
CLIENTS = 1_000
MISSED = 500
UNIT = 10
MISSED_CHANNELS = 50
LIVE_CHANNELS = 100
LIVE_RATE = 5_000.0


async def measure(run: Run, case: str) -> Result:
    clients = run.plan.scaled(CLIENTS, least=10)
    missed = run.add_lanes(MISSED_CHANNELS, window=MISSED, unit=UNIT)
    live = run.add_lanes(run.plan.scaled(LIVE_CHANNELS, least=5), window=0, sample=1)
    run.start()
    preloaders = await run.write(shared(missed, 5))
    for writer in preloaders:
        writer.start()
    await run.drain()
    await run.read(each(live))
    Pace(await run.write(each(live)), LIVE_RATE, per_tick=5).start()
    await run.sleep(run.plan.warmup_s)
    run.load.forget_latencies()
    await run.sleep(run.plan.seconds / 2)
    quiet = spread("quiet", run.load.latencies)
    run.load.forget_latencies()
    return quiet | await come_back(run, [[missed[index % len(missed)]] for index in range(clients)])


async def come_back(run: Run, watched: list[list[Lane]]) -> Result:
    caught_up = array("d")
    begin = run.reading()
    for lane in {id(lane): lane for share in watched for lane in share}.values():
        lane.marks = [(MISSED, begin.time_s)]
    await run.read(watched, "earliest", at_once=len(watched), latencies=caught_up)
    while len(caught_up) < len(watched):
        await run.sleep(0.002)
    end = run.reading()
    result = between(begin, end) | spread("caught_up", caught_up) | spread("delivery", run.load.latencies)
    run.load.running = False
    return result | {"all_caught_up_ms": max(caught_up) * 1e3} | run.verdict(await run.drain())
