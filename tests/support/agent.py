"""An agent in a process of its own that writes under a lease, for tests that kill it, stop it, or take over from it.

    with agent(place.url, "a") as process:
        assert token_of(process)

It says `token N` when it has the lease, `fenced` when a publish was refused, and goes on after that until it is ended.
"""

from __future__ import annotations

import asyncio
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import outlast

from .broker import PATIENCE_S

ROOM = "room"
LEASE = "writer"
TTL_S = 1.0
PAUSE_S = 0.01
_ROOT = Path(__file__).parents[2]


@contextmanager
def agent(url: str, client_id: str, *how: str) -> Iterator[subprocess.Popen[str]]:
    """`how`: "wait" for the lease, or "take-over". Killed at the end."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", __name__, url, client_id, *how]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def token_of(process: subprocess.Popen[str]) -> int:
    """Returns when the agent has the lease."""
    word, number = said(process).split()
    assert word == "token"
    return int(number)


def said(process: subprocess.Popen[str]) -> str:
    """The next line that the agent says."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(PATIENCE_S), "the agent says nothing"
    return process.stdout.readline().strip()


async def write(url: str, client_id: str, how: list[str]) -> None:
    async with outlast.connect(url, client_id=client_id, backoff_base_ms=1, backoff_cap_ms=50) as client:
        channel = client.channel(ROOM)
        async with channel.lease(LEASE, ttl=TTL_S, wait="wait" in how, take_over="take-over" in how) as lease:
            print("token", lease.token, flush=True)
            while True:
                try:
                    await channel.publish(client_id, lease=lease)
                except outlast.Fenced:
                    print("fenced", flush=True)
                    await asyncio.Event().wait()
                await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2], sys.argv[3:]))
