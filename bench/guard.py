"""A regression guard that counts instead of timing: the same numbers on a busy machine and on an idle one.

Drives the engine in this process, in lockstep (publish a round, commit, deliver), and counts for each message
the Python instructions, the calls into C, the socket writes, the commits and the bytes that go to the store's
file; and the memory of an idle, subscribed connection. `baseline.json` holds what they were when they were last
looked at; a count that grew by more than the margin fails, and so does one that shrank by more: then the
baseline is to be lowered, so that the gain is kept.

    python -m bench.guard            compare with the baseline
    python -m bench.guard --write    make what is measured now the baseline
    python -m bench.guard --where    the functions that a message's instructions are spent in
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from outlast_broker.config import Config
from outlast_broker.connection import ClientConnection
from outlast_broker.engine import Engine
from outlast_broker.lmdb_log import LmdbLog
from outlast_protocol import frames as f
from outlast_protocol.batch import encode_batch

BASELINE = Path(__file__).with_name("baseline.json")
MARGIN = 0.08
CHANNELS = 20
ROUNDS = 10
DATA = b"x" * 64
IDLE_CONNECTIONS = 200
OF_THE_VERSION = ("instructions", "calls into C", "bytes")

Counts = dict[str, float]


class CountingWire:
    """A socket that takes everything at once."""

    def __init__(self) -> None:
        self.writes = 0
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.bytes += len(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


class InstructionCounter:
    """Counts executed bytecode instructions and calls into C of this thread, while it is entered."""

    def __init__(self) -> None:
        self.instructions = 0
        self.calls = 0
        self.by_function: Counter[str] = Counter()

    def __enter__(self) -> InstructionCounter:
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            self.instructions += 1
            self.by_function[frame.f_code.co_qualname] += 1
        return self._trace

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        self.calls += event == "c_call"


class Stage:
    """An engine on a store of its own, with a publisher and subscribers for each of some channels."""

    def __init__(self, folder: Path, subscribers: int, channels: int) -> None:
        self.wires: list[CountingWire] = []
        self.engine = Engine(
            Config(data=folder, journal_bytes=1 << 16),
            LmdbLog(folder, 1 << 30),
            asyncio.get_running_loop(),
            lambda error: sys.exit(f"the store failed: {error}"),
        )
        self.publishers = [self.connect(f.Hello([1], "p", [index + 1, 0])) for index in range(channels)]
        self.subscribers = [self.connect(f.Hello([1], "s")) for _ in range(subscribers * channels)]

    def connect(self, hello: f.Hello) -> ClientConnection:
        self.wires.append(CountingWire())
        connection = ClientConnection(self.engine, self.wires[-1], 0)
        connection.receive(f.encode(hello))
        return connection

    async def settle(self) -> None:
        done = asyncio.Event()
        self.engine.when_idle(done.set)
        await done.wait()

    async def open(self) -> None:
        """Channel numbers are given in order, from 1 on."""
        each = len(self.subscribers) // len(self.publishers)
        for index, publisher in enumerate(self.publishers):
            publisher.receive(f.encode(f.Open(1, f"channel:{index}")))
        await self.settle()
        for index, subscriber in enumerate(self.subscribers):
            number = index // each + 1
            subscriber.receive(f.encode(f.Open(1, f"channel:{number - 1}")))
            subscriber.receive(f.encode(f.Subscribe(2, number, 1 << 30, start="latest")))
        await self.settle()


async def count_publishing(
    subscribers: int, channels: int, frames_each: int, records: int, where: Counter[str] | None = None
) -> Counts:
    """Each round: `frames_each` PUBLISH frames of `records` to every channel, in one read per publisher."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), subscribers, channels)
        await stage.open()
        batch = encode_batch("p", [(DATA, "token", None)] * records)
        rounds = [_round(index, channels, frames_each, batch) for index in range(ROUNDS)]
        await _run(stage, rounds[:1])
        writes, commits = sum(wire.writes for wire in stage.wires), stage.engine.counters.commits
        written = _bytes_written()
        with InstructionCounter() as counter:
            await _run(stage, rounds[1:])
        messages = (ROUNDS - 1) * channels * frames_each * records
        if where is not None:
            where.update({name: count / messages for name, count in counter.by_function.items()})
        counts = {
            "instructions": counter.instructions / messages,
            "calls into C": counter.calls / messages,
            "socket writes": (sum(wire.writes for wire in stage.wires) - writes) / messages,
            "commits": (stage.engine.counters.commits - commits) / messages,
            "bytes to disk": (_bytes_written() - written) / messages,
        }
        stage.engine.close()
    return {name: round(value, 4) for name, value in counts.items()}


def _round(index: int, channels: int, frames_each: int, batch: bytes) -> list[bytes]:
    first = index * frames_each + 1
    return [
        b"".join(
            f.encode(f.Publish(10 + sequence, number + 1, sequence, f.UNCONDITIONAL, 0, batch))
            for sequence in range(first, first + frames_each)
        )
        for number in range(channels)
    ]


async def _run(stage: Stage, rounds: list[list[bytes]]) -> None:
    for reads in rounds:
        for publisher, data in zip(stage.publishers, reads, strict=True):
            publisher.receive(data)
        await stage.settle()


def _bytes_written() -> int:
    """What this process has handed to write(2) and its kin."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


async def count_idle() -> Counts:
    """Bytes that the broker's own objects take for a connection that has one subscription and is silent."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), 1, 1)
        await stage.open()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(IDLE_CONNECTIONS):
            subscriber = stage.connect(f.Hello([1], "s"))
            subscriber.receive(f.encode(f.Open(1, "channel:0")))
            subscriber.receive(f.encode(f.Subscribe(2, 1, 1 << 20, start="latest")))
            stage.subscribers.append(subscriber)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        stage.engine.close()
    return {"bytes": round(grown / IDLE_CONNECTIONS)}


async def measure() -> dict[str, Counts]:
    # Python 3.12 begins to count instructions only when it is asked for the second time.
    with InstructionCounter():
        json.dumps([])
    return {
        "a message alone in its frame, 1 subscriber": await count_publishing(1, CHANNELS, 8, 1),
        "a message in a batch of 64, 1 subscriber": await count_publishing(1, CHANNELS, 1, 64),
        "a message alone in its frame, 100 subscribers": await count_publishing(100, 1, 8, 1),
        "an idle subscribed connection": await count_idle(),
    }


def baseline_for(version: str, baselines: dict[str, dict[str, Counts]]) -> dict[str, Counts]:
    """The version's own; for one that has none, the newest without what differs from version to version."""
    if version in baselines:
        return baselines[version]
    newest = baselines[max(baselines, key=lambda known: [int(part) for part in known.split(".")])]
    return {
        what: {name: count for name, count in counts.items() if name not in OF_THE_VERSION}
        for what, counts in newest.items()
    }


def compare(baseline: dict[str, Counts], now: dict[str, Counts]) -> list[str]:
    """What is worse, or better, than the baseline by more than the margin; one sentence each."""
    found = []
    for what, counts in baseline.items():
        for name, before in counts.items():
            after = now[what][name]
            if abs(after - before) > MARGIN * before:
                word = "grew" if after > before else "shrank: write the baseline anew"
                found.append(f"{what}: {name} {before:g} -> {after:g} {word}")
    return found


async def show_where() -> None:
    for title, frames_each, records in (("alone in its frame", 8, 1), ("in a batch of 64", 1, 64)):
        where: Counter[str] = Counter()
        await count_publishing(1, CHANNELS, frames_each, records, where)
        print(f"a message {title}, 1 subscriber: {sum(where.values()):.1f} instructions")
        for name, count in where.most_common(20):
            print(f"{count:8.2f}  {name}")


def version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> int:
    if "--where" in sys.argv:
        asyncio.run(show_where())
        return 0
    now = asyncio.run(measure())
    baselines = json.loads(BASELINE.read_text())
    if "--write" in sys.argv:
        BASELINE.write_text(json.dumps(baselines | {version(): now}, indent=2, sort_keys=True) + "\n")
        return 0
    print(json.dumps(now, indent=2))
    found = compare(baseline_for(version(), baselines), now)
    print("\n".join(found) or "as the baseline", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
