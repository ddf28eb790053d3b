"""Two workers share a plan in the channel's state: each step is taken by one of them, and a viewer follows.

    python state.py [CHANNEL]

All three are one program here, so that it ends by itself; they need not be.
"""

from __future__ import annotations

import asyncio
import sys

import outlast

STEPS = ("plan", "search", "write", "review")


async def worker(worker_id: str, name: str) -> None:
    async with outlast.connect(client_id=worker_id) as client:
        state = client.channel(name).state
        for step in STEPS:
            try:
                await state.set(step, "taken", version=0)  # only if there is no such key: one of two gets it
            except outlast.VersionMismatch:
                continue
            await asyncio.sleep(0.01)  # the work itself
            await state.update([outlast.Set(step, "done"), outlast.Increment("done")])  # both or none


async def main(name: str) -> None:
    async with outlast.connect(client_id="viewer") as client:
        state = client.channel(name).state
        await state.update([outlast.Delete(key) for key in (*STEPS, "done")])
        async with state.watch() as plan, asyncio.TaskGroup() as tasks:
            for worker_id in ("ada", "bob"):
                tasks.create_task(worker(worker_id, name))
            async for change in plan:
                print(f"{change.key}: {change.value} ({change.client_id})", flush=True)
                if change.key == "done" and change.value == len(STEPS):
                    break
        print(f"{plan['done']} of {len(STEPS)} steps are done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:state"))
