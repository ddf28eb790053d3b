"""The agent: reads Python's standard library with its tools and writes a report, word by word.

It uses the client as anybody would. That the broker dies now and then is not its business: what is not
acknowledged is kept and sent again by the client, while the agent works on. That it may die itself is: it
writes under a lease, and goes on, in mid-sentence, with what it finds in the channel when it starts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import outlast
from outlast import Cancellation, Channel, Lease, MessageWriter

from .part import BACKOFF_CAP_MS, CHANNEL, CONTROL, END, play, tell
from .past import SECTION, SUMMARY, TOOL_RESULT, Left, Notes, Past
from .report import Report
from .tools import TOOLS, Facts, use

TASK = "Read Python's standard library and report on every file."
RUN = "run"
TOKENS_PER_SECOND = 300
_ONE = {"lines": "line", "functions": "function", "classes": "class", "definitions": "definition"}
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def library_files(folder: Path, seed: int) -> list[Path]:
    """The library's modules, in an order of their own for each seed."""
    files = sorted(path for path in folder.rglob("*.py") if not _LEFT_OUT & set(path.parts))
    random.Random(seed).shuffle(files)
    return files


class Agent:
    """Works until `end_s`, or until somebody cancels the run."""

    def __init__(self, report: Report, notes: Notes, folder: Path, end_s: float, cancellation: Cancellation) -> None:
        self._report = report
        self._notes = notes
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._end_s = end_s
        self._cancellation = cancellation

    async def work(self, files: list[Path], left: Left | None, unfinished: MessageWriter | None) -> None:
        """Goes over everything, and over it again, until the time is up; first, over what was left."""
        while self._goes_on(left):
            await self._study(files[self._notes.files % len(files)], left, unfinished)
            left = unfinished = None
        if not self._cancellation.is_set():
            message = unfinished or self._report.open(SUMMARY)
            await self._finish(message, self._notes.summary()[len(str(message.content)) :])

    def _goes_on(self, left: Left | None) -> bool:
        if self._cancellation.is_set() or (left is not None and left.name == SUMMARY):
            return False
        return left is not None or self._loop.time() < self._end_s

    async def _study(self, path: Path, left: Left | None, unfinished: MessageWriter | None) -> None:
        source = await asyncio.to_thread(path.read_text, "utf-8", "replace")
        title = self._report.file = str(path.relative_to(self._folder))
        heading = f"## {title}\n\n"
        if unfinished is None:
            message, said = self._report.open(SECTION, title), heading
            await self._report.append(message, heading)
        else:
            message, said = unfinished, str(unfinished.content)
        facts = left.facts if left is not None else {}
        for tool in TOOLS:
            if tool not in facts:
                facts[tool] = await self._call(tool, title, source)
        text = heading + "".join(sentences(facts))
        await self._finish(message, text[len(said) :])
        self._notes.remember(title, facts)

    async def _call(self, tool: str, title: str, source: str) -> Facts:
        """In a thread: a long parse must not keep the connection's heartbeats waiting."""
        await self._report.write("tool_call", {"tool": tool, "file": title})
        facts = await asyncio.to_thread(use, tool, source)
        await self._report.write(TOOL_RESULT, {"tool": tool, **facts})
        return facts

    async def _finish(self, message: MessageWriter, rest: str) -> None:
        """The rest, token by token; then the message is closed."""
        for token in re.findall(r"\s*\S+\s*", rest):
            if self._cancellation.is_set():
                self._report.cancel(message, self._cancellation.text)
                break
            await self._report.append(message, token)
            await asyncio.sleep(1 / TOKENS_PER_SECOND)
        else:
            self._report.complete(message)
        await asyncio.sleep(1 / TOKENS_PER_SECOND)


def sentences(facts: dict[str, Facts]) -> Iterator[str]:
    """The findings on one file in words."""
    outline, longest, coverage = (facts[tool] for tool in ("outline", "longest_function", "docstring_coverage"))
    if "error" in outline:
        yield f"This file cannot be parsed: {outline['error']}. "
        return
    lines, functions, classes = (_count(outline[name], name) for name in ("lines", "functions", "classes"))
    yield f"It has {lines}, {functions} and {classes}. "
    if longest.get("name"):
        yield f"The longest function is {longest['name']} with {_count(longest['lines'], 'lines')}. "
    definitions = _count(coverage["definitions"], "definitions")
    yield f"{coverage['percent']} percent of its {definitions} say what they are for. "


def _count(count: int | str, things: str) -> str:
    return f"{count} {_ONE[things] if count == 1 else things}"


# --- what an agent has to know before it works ------------------------------------------------------------


async def recall(channel: Channel) -> Past:
    past = Past()
    async for record in channel.history(raw=True):
        past.see(record)
    return past


async def take_up(channel: Channel, lease: Lease) -> tuple[Past, MessageWriter | None]:
    """What is done, and the writer of what is not. Nobody else writes any more: the lease is ours."""
    past = await recall(channel)
    if past.left is None:
        return past, None
    unfinished = await channel.adopt(past.left.id, lease=lease)
    return await recall(channel), unfinished


@asynccontextmanager
async def the_run(control: Channel) -> AsyncIterator[Cancellation]:
    """The run is a message: open while agents work on it, whichever they are, and whoever cancels it, cancels them."""
    async with control.inbox(cursor="agent") as inbox:
        run = await _run_message(control)
        with inbox.cancelled(run) as cancellation:
            yield cancellation
        if cancellation.is_set():
            await run.cancel(cancellation.text)
        else:
            await run.complete()


async def _run_message(control: Channel) -> MessageWriter:
    async for record in control.history(raw=True):
        if record.name == RUN:
            return await control.adopt(record.offset)
    run = control.message(name=RUN, data=TASK)
    await run.flush()
    return run


async def perform(url: str, seconds: float, seed: int) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = library_files(folder, seed)
    report = Report()
    client = outlast.connect(
        url, client_id="agent", timeout=None, on_state=report.on_state, backoff_cap_ms=BACKOFF_CAP_MS
    )
    async with client:
        channel, control = client.channel(CHANNEL), client.channel(CONTROL)
        async with the_run(control) as cancellation, channel.lease("writer", take_over=True) as lease:
            past, unfinished = await take_up(channel, lease)
            report.begin(lease, past.tally)
            end_s = asyncio.get_running_loop().time() + seconds
            if not past.is_written:
                await Agent(report, past.notes, folder, end_s, cancellation).work(files, past.left, unfinished)
            await report.settled()
            if not past.is_ended:
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
