import asyncio

import outlast


async def agent(channel: outlast.Channel) -> None:
    """Streams an answer. Should this process die, the broker closes what is half-written, and says so."""
    async with channel.lease("writer") as writer, writer.message(name="answer") as answer:
        for token in ("Leave,", " come back,", " get exactly the rest."):
            answer.append_nowait(token)  # readers see it once it is on disk


async def page(channel: outlast.Channel) -> None:
    """Opens at any time, on any device: what was said, each message once; then whatever happens."""
    async with channel.attach(last=50) as session:
        async for event in session:
            if isinstance(event, outlast.MessageChanged):
                print(event.message.state, repr(event.message.content))
            elif isinstance(event, outlast.Record):
                print(event.offset, event.data)
                return  # str(event.position) is all that a reader has to store: attach(after=...) goes on there


async def main() -> None:
    async with outlast.connect(client_id="agent") as client:  # OUTLAST_URL, or the broker on this machine
        channel = client.channel("session:42")
        await agent(channel)
        await channel.publish({"tool": "search", "query": "LMDB"}, name="tool_call")  # returns when it is on disk
    async with outlast.connect() as client:  # later: another process, another device
        await page(client.channel("session:42"))


asyncio.run(main())
