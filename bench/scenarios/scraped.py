"""Does a Prometheus that looks every second slow the messages down?

Measures: latency at 10,000 messages of 64 bytes per second over 200 channels, as in `paced`, alone and with
GET /metrics once a second over HTTP on the same port; and how long such a scrape takes, half of them at most.
Good: no difference between the two beyond that of two runs of the same; a scrape within 5 ms.
Near: rendering some 300 lines on the loop of the broker, which others wait for: 0.3 ms.
"""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter

from ..run import Result, Run, each

CASES = ("alone", "scraped each second")
ONLY = ("outlast",)
CHANNELS = 200
RATE = 10_000.0
INTERVAL_S = 1.0
_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(run.plan.scaled(CHANNELS, least=4), window=0, sample=1)
    run.start()
    await run.read(each(lanes))
    await run.write(each(lanes))
    if case == "alone":
        return await run.paced(RATE, per_tick=10)
    took_ms: list[float] = []
    scraping = asyncio.create_task(_scrape(*run.server.address, took_ms))
    result = await run.paced(RATE, per_tick=10)
    scraping.cancel()
    return result | {"scrape_p50_ms": median(took_ms), "scrapes": len(took_ms)}


async def _scrape(host: str, port: int, took_ms: list[float]) -> None:
    """Over one connection, as Prometheus does. `took_ms` gets how long each took."""
    reader, writer = await asyncio.open_connection(host, port)
    while True:
        begin_s = perf_counter()
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        took_ms.append((perf_counter() - begin_s) * 1e3)
        await asyncio.sleep(INTERVAL_S)
