"""An agent that works token by token and survives: lost connections, a broker that dies, its own end.

    python agent.py [CHANNEL]

Offsets have no holes, so the channel's last offset says how many tokens are on disk: that is where it goes on.
"""

from __future__ import annotations

import asyncio
import sys

import outlast

WORK = """\
The agent does not talk to a browser. It writes into a channel, and the channel is on disk. Who wants to read comes and
goes: a tab that is closed, a train in a tunnel, a second screen. Each of them knows the last offset that it has seen,
asks for what follows, and gets exactly that."""
TOKEN_PAUSE_S = 0.02  # a model thinks between tokens


async def main(name: str) -> None:
    async with outlast.connect(client_id="agent") as client:
        channel = client.channel(name)
        tokens = WORK.split()
        done = await tokens_on_disk(channel)
        print(f"{done} of {len(tokens)} tokens are on disk", flush=True)
        acks = []
        for token in tokens[done:]:
            # Returns at once, with or without a connection. The client keeps the token until its ack, and batches.
            acks.append(channel.publish_nowait(token, name="token"))
            await asyncio.sleep(TOKEN_PAUSE_S)
        await asyncio.gather(*acks)
        print(f"all {len(tokens)} tokens are on disk", flush=True)


async def tokens_on_disk(channel: outlast.Channel) -> int:
    try:
        return (await channel.info()).last
    except outlast.UnknownChannel:
        return 0


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "session:agent"))
