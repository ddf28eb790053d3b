"""Metrics as the text that Prometheus reads: its own format, or OpenMetrics when that is asked for. Pure.

prometheus_client would keep the loop six times as long: docs/decisions/0021.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from .histogram import Histogram

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MICROSECONDS_PER_SECOND = 1_000_000


class Family(NamedTuple):
    """All samples of one name: what follows it, as labels, and the value. A counter's name ends in `_total`."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[str, float]]


def counter(name: str, text: str, count: float) -> Family:
    return Family(f"{name}_total", "counter", text, [("", count)])


def counters(name: str, text: str, label: str, counts: Iterable[tuple[object, int]]) -> Family:
    """One for each value of a label."""
    return Family(f"{name}_total", "counter", text, [(f'{{{label}="{value}"}}', count) for value, count in counts])


def gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [("", value)])


def gauges(name: str, text: str, label: str, values: Iterable[tuple[object, float]]) -> Family:
    return Family(name, "gauge", text, [(f'{{{label}="{value}"}}', number) for value, number in values])


def histogram(name: str, text: str, observed: Histogram, unit: int) -> Family:
    """`unit`: as many of what was observed are one of what the metric is in."""
    samples: list[tuple[str, float]] = []
    total = 0
    for suffix, count in zip(_buckets(tuple(observed.bounds), unit), observed.counts, strict=True):
        total += count
        samples.append((suffix, total))
    return Family(name, "histogram", text, [*samples, ("_count", total), ("_sum", observed.total / unit)])


@cache
def _buckets(bounds: tuple[int, ...], unit: int) -> list[str]:
    return [*(f'_bucket{{le="{bound / unit}"}}' for bound in bounds), '_bucket{le="+Inf"}']


def render(families: Iterable[Family], openmetrics: bool) -> str:
    lines: list[str] = []
    for name, kind, text, samples in families:
        # OpenMetrics names a counter without the word that its samples end in.
        family = name.removesuffix("_total") if openmetrics and kind == "counter" else name
        lines += (f"# HELP {family} {text}", f"# TYPE {family} {kind}")
        lines += [f"{name}{suffix} {value}" for suffix, value in samples]
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"
