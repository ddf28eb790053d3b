"""The agent: reads Python's standard library with its tools and writes a report, word by word.

It uses the client as anybody would. That the broker dies now and then is not its business: what is not
acknowledged is kept and sent again by the client, while the agent works on.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sysconfig
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import outlast
from outlast import Ack, BufferFull, Channel, Data

from .part import BACKOFF_CAP_MS, CHANNEL, END, play, tell
from .tally import Tally, data_bytes
from .tools import TOOLS, Facts, use

TOKENS_PER_SECOND = 300
NEWS_EVERY_S = 0.1
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def library_files(folder: Path, seed: int) -> list[Path]:
    """The library's modules, in an order of their own for each seed."""
    files = sorted(path for path in folder.rglob("*.py") if not _LEFT_OUT & set(path.parts))
    random.Random(seed).shuffle(files)
    return files


class Report:
    """Writes to the channel and counts what the broker acknowledged, in the order of its offsets."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._loop = asyncio.get_running_loop()
        self._latest: asyncio.Future[Ack] | None = None
        self._told_s = 0.0
        self.tally = Tally()
        self.written = 0
        self.duplicates = 0
        self.file = ""

    def begin(self, channel: Channel) -> None:
        self._channel = channel

    def on_state(self, state: str, reason: str) -> None:
        self.tell_progress()
        tell("state", state=state)

    async def write(self, name: str, data: Data) -> None:
        """Does not wait for the acknowledgement, only for room in the client's buffer."""
        assert self._channel is not None
        try:
            future = self._channel.publish_nowait(data, name=name)
        except BufferFull:
            await self.settled()
            future = self._channel.publish_nowait(data, name=name)
        future.add_done_callback(lambda done: self._acknowledged(done.result(), data))
        self._latest = future
        self.written += 1
        if self._loop.time() - self._told_s > NEWS_EVERY_S:
            self.tell_progress()

    def _acknowledged(self, ack: Ack, data: Data) -> None:
        self.duplicates += ack.duplicate
        self.tally.add(ack.offset, data_bytes(data))

    async def settled(self) -> None:
        """Everything that was written is on the broker's disk."""
        if self._latest is not None:
            await self._latest

    def tell_progress(self) -> None:
        self._told_s = self._loop.time()
        tell("progress", written=self.written, acknowledged=self.tally.records, file=self.file)


class Agent:
    def __init__(self, report: Report, folder: Path, end_s: float) -> None:
        self._report = report
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._end_s = end_s
        self._files = 0
        self._lines = 0
        self._longest: tuple[int, str] = (0, "nothing")

    async def work(self, files: list[Path]) -> None:
        """Goes over everything, and over it again, until the time is up."""
        for path in cycle(files):
            if self._loop.time() >= self._end_s:
                break
            await self._study(path)
        await self._say(f"\n\n# In short\n\n{self._files} files, {self._lines} lines, longest {self._longest[1]}.\n")

    async def _study(self, path: Path) -> None:
        source = await asyncio.to_thread(path.read_text, "utf-8", "replace")
        title = self._report.file = str(path.relative_to(self._folder))
        await self._report.write("file", f"\n\n## {title}\n\n")
        facts = {tool: await self._call(tool, title, source) for tool in TOOLS}
        self._remember(title, facts)
        for sentence in sentences(facts):
            await self._say(sentence)

    async def _call(self, tool: str, title: str, source: str) -> Facts:
        """In a thread: a long parse must not keep the connection's heartbeats waiting."""
        await self._report.write("tool_call", {"tool": tool, "file": title})
        facts = await asyncio.to_thread(use, tool, source)
        await self._report.write("tool_result", {"tool": tool, **facts})
        return facts

    def _remember(self, title: str, facts: dict[str, Facts]) -> None:
        self._files += 1
        self._lines += int(facts["outline"].get("lines", 0))
        longest = facts["longest_function"]
        self._longest = max(self._longest, (int(longest.get("lines", 0)), f"{longest.get('name')} in {title}"))

    async def _say(self, text: str) -> None:
        for token in re.findall(r"\s*\S+\s*", text):
            await self._report.write("token", token)
            await asyncio.sleep(1 / TOKENS_PER_SECOND)


def sentences(facts: dict[str, Facts]) -> Iterator[str]:
    """The findings on one file in words."""
    outline, longest, coverage = (facts[tool] for tool in ("outline", "longest_function", "docstring_coverage"))
    if "error" in outline:
        yield f"This file cannot be parsed: {outline['error']}. "
        return
    yield f"It has {outline['lines']} lines, {outline['functions']} functions and {outline['classes']} classes. "
    if longest.get("name"):
        yield f"The longest function is {longest['name']} with {longest['lines']} lines. "
    yield f"Of {coverage['definitions']} definitions {coverage['percent']} percent say what they are for. "


async def perform(url: str, seconds: float, seed: int) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = library_files(folder, seed)

    report = Report()
    client = outlast.connect(url, client_id="agent", on_state=report.on_state, backoff_cap_ms=BACKOFF_CAP_MS)
    async with client:
        report.begin(client.channel(CHANNEL))
        end_s = asyncio.get_running_loop().time() + seconds
        await Agent(report, folder, end_s).work(files)
        await report.write(END, "")
        await report.settled()
    tell("end", duplicates=report.duplicates, **report.tally.account()._asdict())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    play(perform(given.url, given.seconds, given.seed))
