"""An agent that works only while somebody is there to see it, and a person who looks in twice.

    python presence.py [CHANNEL]

Agent and person are one program here, so that it ends by itself; they need not be.
"""

from __future__ import annotations

import asyncio
import sys

import outlast


async def person(name: str) -> None:
    async with outlast.connect(client_id="person") as client:
        presence = client.channel(name).presence
        async with presence.enter({"device": "laptop"}) as me:
            await me.update({"device": "laptop", "reading": True})
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.5)
        async with presence.enter({"device": "phone"}, grace=2.0):
            await asyncio.sleep(0.3)


async def agent(name: str) -> None:
    """Pauses as soon as the room is empty, and ends after the second visit."""
    async with outlast.connect(client_id="agent") as client, client.channel(name).presence.watch() as watch:
        visits = 0
        async for event in watch:
            match event:
                case outlast.Occupied():
                    visits += 1
                    print("agent: somebody is there, I work", flush=True)
                case outlast.MemberChanged(member=member):
                    print(f"{member.client_id}: {member.status} {member.data}", flush=True)
                case outlast.Vacated():
                    print("agent: nobody is there, I pause", flush=True)
                    if visits == 2:
                        return


async def main(name: str) -> None:
    async with outlast.connect(client_id="starter") as client:
        presence = client.channel(name).presence
        print("is anybody there?", await presence.occupied(), flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent(name))
            tasks.create_task(person(name))
            await presence.until_occupied(timeout=10)
            print("is anybody there?", await presence.occupied(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:presence"))
