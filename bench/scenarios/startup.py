"""A broker comes back to a large store.

Measures: time from starting the process until it listens, and its memory then, with a million channels of
which each holds one chunk, beside a store with none. The store is in the page cache.
Good: the same time and memory as for the empty store, give or take 100 ms and 10 MB: opening reads the
journal, not the channels.
Near: starting Python; nothing that grows with the store.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from .. import machine
from ..run import Result, Run

CASES = ("empty", "a million channels")
ONLY = ("outlast",)
CHANNELS = 1_000_000


async def measure(run: Run, case: str) -> Result:
    if case != "empty":
        shutil.copytree(built_store(run, run.plan.scaled(CHANNELS)), run.folder)
    begin_s = perf_counter()
    run.start()
    opened_s = perf_counter() - begin_s
    lanes = run.add_lanes(1, window=1)
    await run.read([lanes])
    answered_s = perf_counter() - begin_s
    return {
        "open_ms": opened_s * 1e3,
        "first_answer_ms": answered_s * 1e3,
        "rss_mb": machine.resident_bytes(run.server.pid) / 1e6,
        "disk_mb": machine.folder_bytes(run.folder) / 1e6,
    }


def built_store(run: Run, channels: int) -> Path:
    """Made once, in a process of its own, and kept until the bench ends."""
    store = run.folder.parent / f"store-{channels}"
    if not store.exists():
        command = [sys.executable, "-m", "bench.build_store", str(store), str(channels)]
        subprocess.run(command, check=True, timeout=run.plan.limit_s)
    return store
