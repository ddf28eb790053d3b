"""Publishes a message and says when a reader has it: the double tick of a messenger.

    python receipts.py [CHANNEL]

Phone and agent are one program here, so that it ends by itself; they need not be.
"""

from __future__ import annotations

import asyncio
import sys

import outlast


async def phone(name: str, count: int) -> None:
    """Reads `count` messages. Its cursor is in the broker: started again, it goes on where it was."""
    async with (
        outlast.connect(client_id="phone") as client,
        client.channel(name).subscribe(cursor="phone", ack="manual") as records,
    ):
        for _ in range(count):
            record = await anext(records)
            print(f"phone: {record.data}", flush=True)
            # Shown first, then acknowledged: an end between the two shows one message again and never skips one.
            record.ack()
            await records.acked()


async def main(name: str) -> None:
    async with outlast.connect(client_id="agent") as client:
        channel = client.channel(name)
        for text in ("The build is done.", "Shall I deploy it?"):
            ack = await channel.publish(text)  # one tick: it is on disk
            try:
                await ack.delivered(cursor="phone", timeout=0.2)
            except outlast.NotDelivered as behind:
                print(f"agent: {ack.offset} is not read yet, the phone has {behind.offset}", flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(phone(name, 2))
            await ack.delivered(cursor="phone")  # two ticks
            print(f"agent: {ack.offset} is read", flush=True)
        async for cursor in channel.cursors():
            print(f"{cursor.name}: has {cursor.offset}, {cursor.lag} to come", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:receipts"))
