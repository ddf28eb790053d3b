"""An agent works, a person cancels it and is heard; then the agent asks before it spends money.

    python two_ways.py [CHANNEL]

Both are one program here, so that it ends by itself; they need not be. Everything they say to each other is in the
channel: kill the agent, start it again, and what nobody has answered comes to it again.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

import outlast


async def count(channel: outlast.Channel, inbox: outlast.Inbox, request: outlast.Request) -> None:
    """Work without an end, a record for each step, until somebody cancels it."""
    with inbox.cancelled(request) as cancelled:
        for number in itertools.count(1):
            if cancelled.is_set():
                break
            await channel.publish(f"{number}", name="token", headers={"re": str(request.id)})
    print(f"agent: stopped by {cancelled.client_id}: {cancelled.text}", flush=True)


async def agent(name: str) -> None:
    async with outlast.connect(client_id="agent") as client:
        channel = client.channel(name)
        async with channel.inbox(cursor="agent") as inbox:
            async for request in inbox:
                if request.kind != "prompt":
                    await request.refuse("nothing of that number is under way")
                elif await request.accept():  # False: another agent was faster
                    print(f"agent: takes {request.text!r}", flush=True)
                    await count(channel, inbox, request)
                    break
        allowed = await channel.ask_approval("May I pay 5 for the result?", timeout=None)
        print(f"agent: {'pays' if allowed.accepted else f'does not pay: {allowed.reason}'}", flush=True)


async def person(name: str) -> None:
    async with outlast.connect(client_id="person") as client:
        channel = client.channel(name)
        async with channel.inbox(cursor="person", kinds=("approval",)) as questions:
            prompted = await channel.prompt("Count as far as you can")
            print(f"person: the prompt was accepted by {prompted.client_id}", flush=True)
            async for record in channel.subscribe(after=prompted.id):
                if record.name == "token" and record.data == "3":
                    break
            cancelled = await channel.cancel(prompted, "that is far enough")
            print(f"person: the cancel was accepted by {cancelled.client_id}", flush=True)
            question = await anext(questions)
            print(f"person: is asked {question.text!r}", flush=True)
            await question.refuse("it is free elsewhere")


async def main(name: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(agent(name))
        tasks.create_task(person(name))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:two-ways"))
