"""Steady writing, and old records are forgotten.

Measures: 50 channels written at full speed for three times the measured seconds, in batches of 50, each kept
at 1 MB; the space that the store occupies after one, two and three thirds, and the bytes written to disk.
Good: flat after the first third (below 10 % more), no pause: p99 of acks below 10 times p50.
Near: fsync and pages written: what is trimmed has been written to the journal and to a chunk before.
"""

from __future__ import annotations

from .. import gauge, machine
from ..run import Result, Run, shared

CASES = ("50 MB kept",)
ONLY = ("outlast",)
CHANNELS = 50
KEPT_BYTES = 1_000_000
UNIT = 50


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(CHANNELS, window=2 * UNIT, unit=UNIT)
    run.start("--retention-bytes", str(KEPT_BYTES))
    await run.write(shared(lanes, 10))
    run.load.running = True
    for writer in run.writers:
        writer.start()
    begin = run.reading()
    sizes_mb = []
    for _ in range(3):
        await run.sleep(run.plan.seconds)
        sizes_mb.append(machine.folder_bytes(run.folder) / 1e6)
    result = gauge.between(begin, run.reading()) | run.latencies()
    run.load.running = False
    grown = 100 * (sizes_mb[2] / sizes_mb[0] - 1)
    return (
        result
        | {"thirds_mb": sizes_mb, "disk_mb": sizes_mb[2], "grown_percent": grown}
        | run.verdict(await run.drain())
    )
