"""Readings of a run at two moments, and what lies between them."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from . import machine

CLIENT_BOUND_CORES = 0.9


class Reading(NamedTuple):
    """Totals since the beginning of time; only differences mean something."""

    time_s: float
    server_cpu_s: float
    threads_cpu_s: dict[int, float]
    client_cpu_s: float
    busy_s: float
    written_bytes: int
    acked: int
    delivered: int


def read(pid: int, acked: int, delivered: int) -> Reading:
    return Reading(
        time.perf_counter(),
        machine.process_cpu_s(pid),
        machine.thread_cpu_s(pid),
        time.process_time(),
        machine.machine_busy_s(),
        machine.written_bytes(pid),
        acked,
        delivered,
    )


def between(begin: Reading, end: Reading) -> dict[str, Any]:
    """Rates and costs. `foreign_cores` is what others used of this machine meanwhile: above 0.15 is noise."""
    seconds = end.time_s - begin.time_s
    server_s = end.server_cpu_s - begin.server_cpu_s
    client_s = end.client_cpu_s - begin.client_cpu_s
    delivered = end.delivered - begin.delivered
    acked = end.acked - begin.acked
    messages = max(delivered, acked)
    foreign_s = end.busy_s - begin.busy_s - server_s - client_s
    return {
        "seconds": seconds,
        "delivered_per_s": delivered / seconds,
        "acked_per_s": acked / seconds,
        "server_us_per_message": server_s * 1e6 / messages if messages else None,
        "server_cores": server_s / seconds,
        "server_threads_cores": _threads(begin, end, seconds),
        "client_cores": client_s / seconds,
        "client_bound": client_s / seconds > CLIENT_BOUND_CORES,
        "foreign_cores": max(0.0, foreign_s / seconds),
        "disk_mb_per_s": (end.written_bytes - begin.written_bytes) / seconds / 1e6,
    }


def _threads(begin: Reading, end: Reading, seconds: float) -> list[float]:
    """Cores used by each of the server's threads, busiest first; idle ones are left out."""
    spent = [cpu_s - begin.threads_cpu_s.get(tid, 0.0) for tid, cpu_s in end.threads_cpu_s.items()]
    return [round(each / seconds, 3) for each in sorted(spent, reverse=True) if each / seconds > 0.005]
