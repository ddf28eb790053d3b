"""An agent writes an answer token by token; a reader who comes late sees what is there, and then every token.

    python growing.py [CHANNEL]

Agent and reader are one program here, so that it ends by itself; they need not be.
"""

from __future__ import annotations

import asyncio
import sys

import outlast

TEXT = "Offsets are dense , so a reader can prove that it missed nothing ."


async def agent(name: str, half: asyncio.Event, go_on: asyncio.Event) -> None:
    tokens = TEXT.split()
    # Leaving the block closes the message: complete, or cancelled, or with the error that ended it.
    async with (
        outlast.connect(client_id="agent") as client,
        client.channel(name).message(name="answer") as message,
    ):
        for index, token in enumerate(tokens):
            # Does not wait for the disk: tokens that come faster than it go together.
            message.append_nowait(f"{token} ")
            if index == len(tokens) // 2:
                await message.flush()
                half.set()
                await go_on.wait()


async def reader(name: str, go_on: asyncio.Event) -> None:
    async with (
        outlast.connect(client_id="reader") as client,
        client.channel(name).attach(last=1) as session,
    ):
        async for event in session:
            if not isinstance(event, outlast.MessageChanged):
                continue
            if event.delta:
                print(f"{event.message.state}: {event.delta}", flush=True)
            go_on.set()
            if not event.message.is_open:
                print(f"{event.message.state}, {len(event.message.content)} letters", flush=True)
                return


async def main(name: str) -> None:
    half, go_on = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(agent(name, half, go_on))
        await half.wait()
        tasks.create_task(reader(name, go_on))
    async with outlast.connect() as client:
        # History has the message as one record, however many tokens it was written in.
        async for record in client.channel(name).history(last=1):
            print(f"{record.name}: {record.data}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:growing"))
