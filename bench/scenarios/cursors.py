"""Ten or fifty thousand readers say once a second how far they have got.

Measures: time from the moment an ACK was meant to be sent to its answer, which is behind its fsync, at 10 cursors in
each of 1,000 or 5,000 channels, over 100 connections, of which each acknowledges once a second; the broker's CPU
and memory; how long it takes until it listens again after it was killed.
Good: p50 below 20 ms, p99 below 100 ms, one core at most; a start that takes as long as without cursors.
Near: 50,000 frames in and out, and 500 keys of one B-tree per 10 ms in one commit.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from struct import Struct
from time import perf_counter

from outlast_protocol import frames as f

from .. import gauge, machine
from ..lane import Lane
from ..link import Load, LoadFailed
from ..run import Result, Run, shared, spread
from ..systems.outlast import OutlastWriter

CASES = ("10,000 cursors", "50,000 cursors")
ONLY = ("outlast",)
CHANNELS = {"10,000 cursors": 1_000, "50,000 cursors": 5_000}
CURSORS = 10
CONNECTIONS = 100
ROUND_S = 1.0
RECORDS = 32
_REPLY = f.BY_CLASS[f.Reply].number
_REQUEST = Struct("<I")


class Acker(OutlastWriter):
    """Acknowledges with all cursors of its channels at once; `answered` counts what is on disk."""

    def __init__(self, load: Load, lanes: Sequence[Lane]) -> None:
        super().__init__(load, lanes)
        self.sent = self.answered = 0
        self.latencies: array[float] = array("d")
        self._due_s: list[float] = []

    def acknowledge(self, offset: int, due_s: float) -> None:
        self._due_s.append(due_s)
        for lane in self.lanes:
            for cursor in range(CURSORS):
                self.out.append(f.encode(f.Ack(self.sent + 1, lane.number, f"reader-{cursor}", offset)))
                self.sent += 1
        self.flush()

    def data_received(self, data: bytes) -> None:
        now_s = perf_counter()
        for kind, run, start, end in self._frames.feed(data):
            if kind != _REPLY:
                self._other(kind, run, start, end)
                continue
            request = _REQUEST.unpack_from(run, start + 8)[0]
            self.latencies.append(now_s - self._due_s[(request - 1) // (len(self.lanes) * CURSORS)])
            self.answered += 1
        self.flush()


async def measure(run: Run, case: str) -> Result:
    lanes = run.add_lanes(run.plan.scaled(CHANNELS[case], least=CONNECTIONS), window=RECORDS)
    run.start()
    shares = shared(lanes, CONNECTIONS)
    await run.write(shares)
    await run.publish_once(RECORDS)
    ackers = [Acker(run.load, share) for share in shares]
    await run.join(ackers)
    before = machine.resident_bytes(run.server.pid)
    await acknowledge(run, ackers, 1, 2)
    forget(ackers)
    begin, before_acks = run.reading(), answered(ackers)
    await acknowledge(run, ackers, 3, min(max(round(run.plan.seconds), 1), RECORDS - 2))
    result = gauge.between(begin, run.reading())
    acks = max(answered(ackers) - before_acks, 1)
    await drain(run, ackers)
    return (
        result
        | {
            "acked_per_s": acks / result["seconds"],
            "server_us_per_message": result["server_cores"] * result["seconds"] * 1e6 / acks,
        }
        | spread("ack", array("d", [each for acker in ackers for each in acker.latencies]))
        | {"complete": all(acker.answered == acker.sent for acker in ackers)}
        | {"rss_mb": machine.resident_bytes(run.server.pid) / 1e6}
        | {"kept_mb": (machine.resident_bytes(run.server.pid) - before) / 1e6}
        | await restart(run)
    )


async def acknowledge(run: Run, ackers: Sequence[Acker], offset: int, rounds: int) -> None:
    """`rounds` rounds of all ackers, dealt out evenly over each; a late one does not put off the next."""
    begin_s = perf_counter()
    for index in range(rounds * len(ackers)):
        turn, of = divmod(index, len(ackers))
        due_s = begin_s + index * ROUND_S / len(ackers)
        await asyncio.sleep(max(0.0, due_s - perf_counter()))
        run.check()
        ackers[of].acknowledge(offset + turn, due_s)


def forget(ackers: Sequence[Acker]) -> None:
    for acker in ackers:
        del acker.latencies[:]


def answered(ackers: Sequence[Acker]) -> int:
    return sum(acker.answered for acker in ackers)


async def drain(run: Run, ackers: Sequence[Acker]) -> None:
    deadline_s = perf_counter() + run.plan.drain_s
    while any(acker.answered < acker.sent for acker in ackers):
        if perf_counter() > deadline_s:
            raise LoadFailed("acknowledgements are not answered")
        await run.sleep(0.01)


async def restart(run: Run) -> Result:
    """`open_ms`: from the start of the process until it listens."""
    await run.restart()
    return {"open_ms": run.opening_s * 1e3, "restarted_rss_mb": machine.resident_bytes(run.server.pid) / 1e6}
