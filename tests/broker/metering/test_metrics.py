from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pytest
from outlast_broker.doors.crowd import DOORS
from outlast_broker.metering.counters import COUNTED
from outlast_broker.metering.measures import Measures
from outlast_broker.metering.metrics import HISTOGRAMS, families_of, registry_of
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Info
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.broker.stage import Actor, Stage

LABELS = {"door", "code", "status", "le", "version", "python"}
Read = Callable[[str], Iterable[Metric]]


@pytest.fixture
def alice(stage: Stage) -> Actor:
    return stage.client("alice")


def told(stage: Stage) -> dict[str, Metric]:
    families = list(families_of(stage.engine))
    found = {family.name: family for family in families}
    assert len(found) == len(families), "each name comes once"
    return found


def values(stage: Stage, name: str) -> dict[str, float]:
    """Of one family: by what follows its name, or else by its only label."""
    samples = told(stage)[name].samples
    return {" ".join(each.labels.values()) or each.name.removeprefix(name): each.value for each in samples}


def test_every_counter_and_every_measure_is_told(stage: Stage) -> None:
    names = set(told(stage))
    for name in COUNTED.keys() - {"bytes_in", "bytes_out", "refused"}:
        assert f"outlast_{name}" in names
    assert {"outlast_read_bytes", "outlast_written_bytes", "outlast_errors"} <= names
    assert set(HISTOGRAMS) == set(Measures.__slots__)


def test_names_keep_the_conventions(stage: Stage) -> None:
    for name, family in told(stage).items():
        assert re.fullmatch(r"(outlast|process)_[a-z_]+", name) and family.documentation.endswith(".")
        assert not re.search(r"_(ms|us|milliseconds|kb|mb|total)(_|$)", name), "base units"
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= LABELS, "no label names a channel or a client, nor anything else without a bound"


@pytest.mark.parametrize(
    ("write", "read"), [(generate_latest, read_text), (generate_openmetrics, read_openmetrics)], ids=["text", "open"]
)
def test_prometheus_reads_what_is_told(stage: Stage, write: Callable[[CollectorRegistry], bytes], read: Read) -> None:
    read_back = {family.name: family for family in read(write(registry_of(stage.engine)).decode())}
    assert set(told(stage)) - {"outlast_build"} <= set(read_back)


def test_a_histogram_is_cumulative_and_in_its_unit(stage: Stage) -> None:
    for took_us in (100, 300, 300, 70_000_000):
        stage.engine.measures.sync_us.observe(took_us)
    sync = values(stage, "outlast_sync_duration_seconds")
    assert (sync["0.00025"], sync["+Inf"], sync["_count"]) == (1, 4, 4)
    assert sync["_sum"] == pytest.approx(70.0007)


def test_there_are_few_series_whatever_happens(stage: Stage, alice: Actor) -> None:
    before = sum(len(family.samples) for family in told(stage).values())
    for index in range(50):
        alice.publish(alice.open(f"channel {index}").number, "x")
        stage.client(f"client {index}")
    assert sum(len(family.samples) for family in told(stage).values()) == before < 400


def test_they_tell_what_happens(stage: Stage, alice: Actor) -> None:
    alice.connection.came_by("websocket", "127.0.0.1:1")
    number = alice.open("room").number
    alice.subscribe(number)
    alice.send(alice.publishing(number, "a", "b"))
    stage.idle()
    alice.came.clear()
    alice.refused(Info(50, "nowhere"), ErrorCode.UNKNOWN_CHANNEL)
    assert values(stage, "outlast_records_in") == {"_total": 2}
    assert values(stage, "outlast_errors")["unknown_channel"] == 1
    assert values(stage, "outlast_connections") == {door: int(door == "websocket") for door in DOORS}
    assert values(stage, "outlast_subscriptions") == {"": 1}
    assert values(stage, "outlast_publish_duration_seconds")["_count"] == 1
    assert values(stage, "outlast_delivery_lag_seconds")["_count"] == 1
    assert values(stage, "outlast_commit_records")["_sum"] == 2
    assert values(stage, "outlast_journal_bytes")[""] > 0 < values(stage, "process_open_fds")[""]


def test_read_only_is_told_and_leaving_is_something_else(stage: Stage) -> None:
    assert values(stage, "outlast_read_only") == values(stage, "outlast_leaving") == {"": 0}
    stage.engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is full", retry_after_ms=5_000)
    assert values(stage, "outlast_read_only") == {"": 1}
    stage.engine.leaving = True
    stage.engine.refusal = ProtocolError(ErrorCode.GOING_AWAY, "the broker is stopping", retry_after_ms=500)
    assert (values(stage, "outlast_read_only"), values(stage, "outlast_leaving")) == ({"": 0}, {"": 1})


def test_what_is_kept_in_memory_has_no_disk(stage: Stage) -> None:
    assert ("outlast_disk_free_bytes" in told(stage)) == (stage.engine.config.data is not None)
