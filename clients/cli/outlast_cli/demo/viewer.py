"""A viewer: follows the report from the start, rebuilds its text, and remembers where it is."""

from __future__ import annotations

import argparse
import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import outlast
from outlast import Record, Subscription

from .notebook import Notebook
from .part import BACKOFF_CAP_MS, CHANNEL, END, play, tell

NEWS_EVERY_S = 0.1
TAIL_LETTERS = 200


class Return(NamedTuple):
    """A return that is complete: `replayed` records from offset `first` on were waiting."""

    first: int
    replayed: int


class Catchup:
    """Pure. What was accepted before the viewer came back was replayed to it; what comes later is live."""

    def __init__(self) -> None:
        self._since_ms = 0
        self._first = 0
        self._replayed = 0

    def begin(self, now_ms: int, first: int) -> None:
        """The viewer is back, and `first` is the offset that it needs next."""
        if not self._since_ms:
            self._first, self._replayed = first, 0
        self._since_ms = now_ms

    def see(self, time_ms: int, is_end: bool) -> Return | None:
        """A record came; a Return when it is the first that was not waiting, or the last of all."""
        if not self._since_ms:
            return None
        is_old = time_ms < self._since_ms
        self._replayed += is_old
        if is_old and not is_end:
            return None
        self._since_ms = 0
        return Return(self._first, self._replayed)


class Viewer:
    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._loop = asyncio.get_running_loop()
        self._catchup = Catchup()
        self._was_open = notebook.position is not None
        self._tail = ""
        self._told_s = 0.0

    def on_state(self, state: str, reason: str) -> None:
        if state == "open":
            if self._was_open:
                self.back()
            self._was_open = True
        tell("state", state=state, offset=self._notebook.tally.last)

    def back(self) -> None:
        self._catchup.begin(now_ms(), self._notebook.tally.last + 1)

    async def watch(self, records: Subscription) -> None:
        """Returns after the report's last record."""
        async for record in records:
            self._notebook.add(record)
            self._show(record)
            if not records.buffered:
                self._notebook.save()
            if record.name == END:
                return

    def _show(self, record: Record) -> None:
        if record.operation is not None:
            self._tail = (self._tail + str(record.data))[-TAIL_LETTERS:]
        if came := self._catchup.see(record.time_ms, record.name == END):
            tell("back", **came._asdict())
        if self._loop.time() - self._told_s > NEWS_EVERY_S:
            self._told_s = self._loop.time()
            tally = self._notebook.tally
            tell("progress", offset=tally.last, gaps=tally.gaps, repeats=tally.repeats, tail=self._tail)


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


async def perform(url: str, name: str, folder: Path) -> None:
    notebook = Notebook(folder)
    viewer = Viewer(notebook)
    # Not the loop's own handler: that one runs only after what has piled up in the socket was read.
    signal.signal(signal.SIGCONT, lambda number, frame: viewer.back())
    client = outlast.connect(url, client_id=name, timeout=None, on_state=viewer.on_state, backoff_cap_ms=BACKOFF_CAP_MS)
    async with client:
        channel = client.channel(CHANNEL)

        def on_resync(resync: outlast.Resync) -> None:
            tell("resync", reason=resync.reason)

        if notebook.position is None:
            records = channel.subscribe(start="earliest", on_resync=on_resync)
        else:
            records = channel.subscribe(after=notebook.position, on_resync=on_resync)
        await viewer.watch(records)
    notebook.close()
    tell("end", **notebook.tally.account()._asdict())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    play(perform(given.url, given.name, given.folder))
