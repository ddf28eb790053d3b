from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from outlast_broker.exposition import Family, counter, counters, gauge, gauges, histogram, render
from outlast_broker.histogram import Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

Read = Callable[[str], Iterable[Any]]


def families() -> list[Family]:
    observed = Histogram((250, 1_000, 10_000))
    for value in (100, 300, 300, 70_000):
        observed.observe(value)
    return [
        counter("o_records", "Records.", 7), counters("o_errors", "Errors.", "code", [("fenced", 2), ("trimmed", 0)]),
        gauge("o_free_bytes", "Free.", 1 << 40), gauges("o_connections", "By door.", "door", [("tcp", 3)]),
        histogram("o_lag_seconds", "Lag.", observed, 1_000_000), histogram("o_batch", "Records.", observed, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("read", "openmetrics"), [(read_text, False), (read_openmetrics, True)])
def test_what_is_said_is_what_prometheus_reads(read: Read, openmetrics: bool) -> None:
    read_back = {family.name: family for family in read(render(families(), openmetrics))}
    assert list(read_back) == ["o_records", "o_errors", "o_free_bytes", "o_connections", "o_lag_seconds", "o_batch"]
    assert [family.type for family in read_back.values()] == ["counter"] * 2 + ["gauge"] * 2 + ["histogram"] * 2
    assert read_back["o_records"].documentation == "Records."
    values = {(each.name, *each.labels.values()): each.value for each in read_back["o_errors"].samples}
    assert values == {("o_errors_total", "fenced"): 2, ("o_errors_total", "trimmed"): 0}
    assert read_back["o_free_bytes"].samples[0].value == 1 << 40


@pytest.mark.parametrize(("read", "openmetrics"), [(read_text, False), (read_openmetrics, True)])
def test_a_histogram_is_cumulative_and_in_its_unit(read: Read, openmetrics: bool) -> None:
    seconds, records = list(read(render(families(), openmetrics)))[-2:]
    samples = {
        each.name.removeprefix("o_lag_seconds") + each.labels.get("le", ""): each.value for each in seconds.samples
    }
    assert samples == {
        "_bucket0.00025": 1, "_bucket0.001": 3, "_bucket0.01": 3, "_bucket+Inf": 4, "_count": 4,
        "_sum": pytest.approx(0.0707),
    }  # fmt: skip
    assert [each.labels["le"] for each in records.samples if "le" in each.labels] == [
        "250.0",
        "1000.0",
        "10000.0",
        "+Inf",
    ]


def test_only_openmetrics_says_that_it_ends() -> None:
    assert render([], True) == "# EOF\n"
    assert "EOF" not in render(families(), False)
