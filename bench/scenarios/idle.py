"""Thousands of people look and nothing happens.

Measures: the server's memory per idle subscribed connection, over 200 channels; the CPU it uses meanwhile;
how many connections per second it took in, each with handshake and subscription.
Good: below 6 KB per connection in the server, next to no CPU.
Near: the size of the server's objects per connection; the kernel's socket memory comes on top everywhere.
"""

from __future__ import annotations

from time import perf_counter

from .. import machine
from ..run import Result, Run

CASES = ("10,000 connections", "2,000 connections")
CONNECTIONS = {"10,000 connections": 10_000, "2,000 connections": 2_000}
CHANNELS = 200


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(CHANNELS, window=1)
    connections = run.plan.scaled(CONNECTIONS[case])
    run.start()
    await run.read([[lane] for lane in lanes])
    before = machine.resident_bytes(run.server.pid)
    begin_s = perf_counter()
    await run.read([[lanes[index % CHANNELS]] for index in range(connections)])
    connected_s = perf_counter() - begin_s
    await run.sleep(run.plan.warmup_s)
    result = await run.window()
    kept = machine.resident_bytes(run.server.pid) - before
    return result | {"kb_per_connection": kept / 1e3 / connections, "connects_per_s": connections / connected_s}
