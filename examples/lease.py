"""One writer at a time, and a successor that takes over when it dies.

    python lease.py [CHANNEL]

Run it in two terminals: one works, the other waits. Kill the one that works (`kill -9`), and a second or so later the
other goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys

import outlast

STEPS = 40
STEP_PAUSE_S = 0.1  # an agent thinks between steps
TTL_S = 1.0  # so long after its holder's end the lease is free


async def main(name: str) -> None:
    agent = f"agent-{os.getpid()}"
    async with outlast.connect(client_id=agent) as client:
        channel = client.channel(name)
        print(f"{agent}: waits for the lease", flush=True)
        async with channel.lease("writer", ttl=TTL_S, wait=True) as lease:
            print(f"{agent}: has the lease", flush=True)
            try:
                await work(channel, lease)
            except outlast.Fenced:
                # This process was asleep for too long: somebody else writes now, and nothing of ours got in between.
                print(f"{agent}: has lost the lease", flush=True)
            else:
                print(f"{agent}: all {STEPS} steps are done", flush=True)


async def work(channel: outlast.Channel, lease: outlast.Lease) -> None:
    done = [record.data async for record in channel.history() if record.name == "step"]
    for step in range(len(done) + 1, STEPS + 1):
        await lease.publish(step, name="step")
        await asyncio.sleep(STEP_PAUSE_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:lease"))
