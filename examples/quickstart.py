import asyncio

import outlast


async def main() -> None:
    async with outlast.connect() as client:  # OUTLAST_URL, or the broker on this machine
        channel = client.channel("session:42")
        greeting = await channel.publish("Hello", name="token")  # returns when it is on disk
        await channel.publish({"tool": "search", "query": "LMDB"}, name="tool_call")
        bookmark = str(greeting.position)  # all that a reader has to store

    async with outlast.connect() as client:  # later: another process, another device
        async for record in client.channel("session:42").subscribe(after=bookmark):
            print(record.offset, record.name, record.data)
            break


asyncio.run(main())
