"""Follows a channel, keeps its place in a file, and goes on from there the next time.

    python watcher.py [CHANNEL [FILE]]

Ctrl-C leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import outlast


async def main(name: str, bookmark: Path) -> None:
    async with outlast.connect(client_id="watcher") as client:
        channel = client.channel(name)
        if bookmark.exists():
            records = channel.subscribe(after=bookmark.read_text())
        else:
            records = channel.subscribe(start="earliest")
        while True:
            try:
                await follow(records, bookmark)
            except outlast.Resync as resync:
                # What lay between is past retention, or the channel is another one now. Iterating again goes on.
                print(f"(records are missing here: {resync.reason})", flush=True)


async def follow(records: outlast.Subscription, bookmark: Path) -> None:
    async for record in records:
        print(record.offset, record.data, flush=True)
        # Shown first, then noted: an end between the two shows one record again and never skips one.
        keep(bookmark, str(record.position))


def keep(bookmark: Path, position: str) -> None:
    """Replaces the file whole, so that an end at any moment leaves the old place or the new one."""
    fresh = bookmark.with_name(f"{bookmark.name}.new")
    fresh.write_text(position)
    fresh.replace(bookmark)


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["session:agent", "watcher.position"][len(sys.argv) - 1 :]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments[0], Path(arguments[1])))
