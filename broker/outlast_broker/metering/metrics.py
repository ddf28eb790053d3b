"""What `/metrics` tells, by name: docs/metrics.md has the same in words. No label names a channel or a client."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterable, Iterator
from itertools import accumulate

from outlast_protocol import ErrorCode
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily as Counter,
    GaugeMetricFamily as Gauge,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__
from ..engine import Engine
from ..status import memory_bytes
from .counters import COUNTED
from .histogram import Histogram

MICROSECONDS_PER_SECOND = 1_000_000

# Counters whose name, with its unit at the end, is another.
RENAMED = {"bytes_in": "read_bytes", "bytes_out": "written_bytes"}
# Told by the code of each error instead.
BY_CODE = "refused"
# By what they are in `Measures`: name, what it says, and how many of what was observed are one of its unit.
HISTOGRAMS = {
    "publish_us": ("outlast_publish_duration_seconds", "From reading a PUBLISH to its acknowledgement, each publish.",
                   MICROSECONDS_PER_SECOND),
    "delivery_us": ("outlast_delivery_lag_seconds", "From the disk to the sockets of live readers, each delivery.",
                    MICROSECONDS_PER_SECOND),
    "commit_us": ("outlast_commit_duration_seconds", "What a commit took, its sync with it.", MICROSECONDS_PER_SECOND),
    "sync_us": ("outlast_sync_duration_seconds", "What of a commit was writing and syncing.", MICROSECONDS_PER_SECOND),
    "commit_records": ("outlast_commit_records", "Records that one commit had.", 1),
    "loop_lag_us": ("outlast_loop_lag_seconds", "By how much the event loop was late, looked at four times a second.",
                    MICROSECONDS_PER_SECOND),
}  # fmt: skip


class BrokerCollector(Collector):
    """Reads the broker's plain integers at a scrape: nothing is counted twice, and the hot path knows no metric."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        return families_of(self._engine)


def registry_of(engine: Engine) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(BrokerCollector(engine))
    return registry


def families_of(engine: Engine) -> Iterator[Metric]:
    yield from _counts(engine)
    for name, (metric, text, unit) in HISTOGRAMS.items():
        yield _histogram(metric, text, getattr(engine.measures, name), unit)
    yield from _connected(engine)
    yield from _store(engine)
    yield from _process(engine)


def _counts(engine: Engine) -> Iterator[Metric]:
    for name, text in COUNTED.items():
        if name != BY_CODE:
            yield Counter(f"outlast_{RENAMED.get(name, name)}", text, getattr(engine.counters, name))
    codes = ((code.name.lower(), count) for code, count in engine.counters.errors.items())
    yield _by_label(Counter, "outlast_errors", "Errors told to clients, by their code.", "code", codes)
    responses = sorted(engine.counters.responses.items())
    yield _by_label(
        Counter, "outlast_http_responses", "Answers to HTTP requests, by their status.", "status", responses
    )


def _connected(engine: Engine) -> Iterator[Metric]:
    crowd = engine.crowd
    yield _by_label(Gauge, "outlast_connections", "Who is connected, by door.", "door", crowd.by_door.items())
    yield Gauge("outlast_subscriptions", "Subscriptions there are.", crowd.subscriptions)
    yield Gauge("outlast_subscriptions_behind", "Subscriptions that are not live.", crowd.behind)
    expires_ms = engine.certificate_expires_ms
    if expires_ms:
        text = "When the certificate for TLS ends, in Unix time."
        yield Gauge("outlast_certificate_expires_seconds", text, expires_ms / 1_000)
    yield Gauge("outlast_waiting_bytes", "What waits for sockets that are full.", engine.debts.all_bytes)
    yield Gauge("outlast_backlog_bytes", "Accepted, and not on disk.", engine.backlog_bytes)


def _store(engine: Engine) -> Iterator[Metric]:
    store, refusal = engine.log.stats(), engine.refusal
    read_only = refusal is not None and refusal.code is ErrorCode.READ_ONLY
    yield Gauge("outlast_channels", "Channels there are.", store.channels)
    yield Gauge("outlast_channels_loaded", "Channels in memory.", len(engine.hub))
    yield Gauge("outlast_store_used_bytes", "What the pages of the store take.", store.used_bytes)
    yield Gauge("outlast_store_file_bytes", "The store's file, with pages that are free again.", store.file_bytes)
    yield Gauge("outlast_store_map_bytes", "Address space of the store; it doubles when it is full.", store.map_bytes)
    yield Gauge("outlast_journal_bytes", "What of the pages the journal takes.", store.journal_bytes)
    age_s = store.reader_age_us / MICROSECONDS_PER_SECOND
    yield Gauge("outlast_reader_age_seconds", "How long the oldest read of the store goes on, a backup's too.", age_s)
    if engine.config.data is not None:
        yield Gauge("outlast_disk_free_bytes", "Free disk under the store.", engine.disk_free_bytes)
        reserve = engine.config.disk_reserve_bytes
        yield Gauge("outlast_disk_reserve_bytes", "With less free disk the broker is read-only.", reserve)
    yield Gauge("outlast_read_only", "1 while the broker takes no changes, for want of disk.", int(read_only))
    yield Gauge("outlast_leaving", "1 while the broker is stopping.", int(engine.leaving))


def _process(engine: Engine) -> Iterator[Metric]:
    runs = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("outlast_build", "Always 1; the labels say what runs.", runs)
    yield Gauge("outlast_start_time_seconds", "When the broker was ready, in Unix time.", engine.started_ms / 1_000)
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Counter("process_cpu_seconds", "CPU time of the process.", used.ru_utime + used.ru_stime)
    yield Gauge("process_resident_memory_bytes", "Memory of the process.", memory_bytes())
    yield Gauge("process_open_fds", "Open file descriptors of the process.", _open_files())
    yield Gauge("process_max_fds", "How many it may have.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _by_label(
    kind: type[Counter] | type[Gauge], name: str, text: str, label: str, values: Iterable[tuple[object, float]]
) -> Metric:
    family = kind(name, text, labels=[label])
    for each, value in values:
        family.add_metric([str(each)], value)
    return family


def _histogram(name: str, text: str, observed: Histogram, unit: int) -> Metric:
    """`unit`: as many of what was observed are one of what the metric is in."""
    totals = list(accumulate(observed.counts))
    bounds = [*(str(bound / unit) for bound in observed.bounds), "+Inf"]
    return HistogramMetricFamily(name, text, list(zip(bounds, totals, strict=True)), observed.total / unit)


def _open_files() -> int:
    """Linux 6.2 and newer say it at once; to list them takes milliseconds when there are ten thousand."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
