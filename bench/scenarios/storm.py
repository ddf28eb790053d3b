"""The broker was killed and everybody comes back at once.

Measures: time from the killed broker's listening again until each of 5,000 clients (200 channels, 25 each)
has connected, said hello and resumed after the last record it had; nobody waits for anybody. Then each must
get the next records.
Good: all of them within 2 seconds, below 0.3 ms of server CPU each, no record missing or twice.
Near: accepts and handshakes in the server; half of the machine is the load's own 5,000 sockets.
"""

from __future__ import annotations

from array import array

from .. import gauge
from ..run import Result, Run, shared, spread

CASES = ("5,000 clients",)
ONLY = ("outlast", "outlast-ws")
CLIENTS = 5_000
CHANNELS = 200
RECORDS = 8


async def measure(run: Run, case: str) -> Result:
    clients = run.plan.scaled(CLIENTS)
    lanes = run.add_lanes(min(CHANNELS, clients), window=0)
    watched = [[lanes[index % len(lanes)]] for index in range(clients)]
    run.start()
    await run.read(watched)
    await run.write(shared(lanes, 8))
    await run.publish_once(RECORDS)
    await run.restart()
    begin = run.reading()
    readers = await run.read(watched, start=RECORDS, at_once=clients)
    cost = gauge.between(begin, run.reading())
    await run.write(shared(lanes, 8))
    await run.publish_once(RECORDS)
    return {
        **spread("return", array("d", [reader.opened_s - begin.time_s for reader in readers])),
        "all_back_ms": cost["seconds"] * 1e3,
        "server_us_per_client": cost["server_cores"] * cost["seconds"] * 1e6 / clients,
        "client_cores": cost["client_cores"],
        "client_bound": cost["client_bound"],
        "foreign_cores": cost["foreign_cores"],
        **run.verdict(run.complete),
    }
