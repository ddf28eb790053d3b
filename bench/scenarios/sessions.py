"""Many sessions stream tokens at once.

Measures: messages per second through 200 channels, each with its own publisher and its own subscriber
connection, 64 messages of 64 bytes outstanding per publisher, durable before their ack. `batched`: what the
acks freed goes as one batch, as the clients do by themselves; `singles`: every message is its own request.
Good: batched ahead of the strongest durable peer (Redis, appendfsync always) in messages per second and in
server CPU per message; p99 below 10 times p50; sent == acked == delivered.
Near: system calls. A turn serves 400 sockets with a read or a write each; the fsync is shared by all of them.
"""

from __future__ import annotations

from ..run import Result, Run, each

CASES = ("batched", "singles")
CHANNELS = 200
WINDOW = 64


async def measure(run: Run, case: str) -> Result:
    run.load.batched = case == "batched"
    lanes = run.add_lanes(run.plan.scaled(CHANNELS, least=4), WINDOW)
    run.start()
    await run.read(each(lanes))
    await run.write(each(lanes))
    return await run.closed_loop()
