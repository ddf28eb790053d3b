"""What the kernel knows of processes and of this machine. Linux only."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
# Asked before anybody is pinned: a child inherits its parent's cores, and has to get away from them.
_ALLOWED = os.sched_getaffinity(0)


def process_cpu_s(pid: int) -> float:
    """User and system time of a live process, all threads, in nanosecond steps."""
    return time.clock_gettime((~pid << 3) | 2)


def thread_cpu_s(pid: int) -> dict[int, float]:
    """CPU time of each thread that still lives."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
    return found


def machine_busy_s() -> float:
    """CPU time that all processes together have used, on all cores, time stolen by the host included."""
    user, nice, system, _, _, irq, soft, steal = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ticks = sum(map(int, (user, nice, system, irq, soft, steal)))
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience_s: float, busy_cores_max: float = 0.15) -> None:
    """Returns after a second in which nobody used more than that, or when patience is over."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        busy_s, begin_s = machine_busy_s(), time.monotonic()
        time.sleep(1.0)
        if machine_busy_s() - busy_s <= busy_cores_max * (time.monotonic() - begin_s):
            return


def only_bench() -> IO[str]:
    """Waits until no other bench measures on this machine; close what it returns to let the next one begin."""
    lock = (Path(tempfile.gettempdir()) / "outlast-bench.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another bench is running: waiting for its end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def written_bytes(pid: int) -> int:
    """Bytes that the process has caused to be written to the disk."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def folder_bytes(folder: Path) -> int:
    """What the files of a folder occupy on disk; holes are not counted."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


def pin(cores: frozenset[int]) -> None:
    """Pins this process to those of `cores` that it may use, or to nothing where it may use none of them."""
    os.sched_setaffinity(0, cores & _ALLOWED or _ALLOWED)


def die_with_parent() -> None:
    """A server must not outlive a bench that was killed. Called in the child, before it becomes the server."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def raise_file_limit() -> int:
    """Ten thousand connections need as many descriptors; returns how many are allowed now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def facts(folder: Path) -> dict[str, Any]:
    """What a reader of the results must know of the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * resource.getpagesize() / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fdatasync_per_s": round(fdatasync_rate(folder)),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def fdatasync_rate(folder: Path, seconds: float = 0.5) -> float:
    """Appends of 4 KiB, each synced, that the disk under `folder` takes in a second."""
    path = folder / "fdatasync-probe"
    block = bytes(4096)
    with path.open("wb", buffering=0) as file:
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            file.write(block)
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / spent
