"""Pages that read server-sent events, beside the same load over TCP and WebSocket.

Measures: delivery latency at 2,000 messages per second, from the moment when a message was meant to be sent: of one
channel to one stream, and of 20 channels to a stream each; CPU per message.
Good: p99 below 20 ms to one stream.
Near: an event's text is made once per message and written once per stream; each is a write of its own.
"""

from __future__ import annotations

from ..run import Result, Run, each

CASES = ("one stream", "20 streams")
ONLY = ("outlast", "outlast-ws", "outlast-sse")
RATE = 2_000.0
STREAMS = {"one stream": 1, "20 streams": 20}


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(STREAMS[case], window=0, sample=1)
    run.start()
    await run.read(each(lanes))
    await run.write(each(lanes))
    return await run.paced(RATE)
