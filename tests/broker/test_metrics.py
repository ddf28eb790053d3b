from __future__ import annotations

import re

import pytest
from outlast_broker.counters import COUNTED
from outlast_broker.crowd import DOORS
from outlast_broker.exposition import Family
from outlast_broker.measures import Measures
from outlast_broker.metrics import HISTOGRAMS, families_of
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Info

from tests.broker.stage import Actor, Stage

UNITS = ("_seconds", "_bytes", "_info", "_fds")
LABELS = {"door", "code", "status", "le", "version", "python"}


@pytest.fixture
def alice(stage: Stage) -> Actor:
    return stage.client("alice")


def told(stage: Stage) -> dict[str, Family]:
    families = list(families_of(stage.engine))
    found = {family.name: family for family in families}
    assert len(found) == len(families), "each name comes once"
    return found


def values(stage: Stage, name: str) -> dict[str, float]:
    return dict(told(stage)[name].samples)


def test_every_counter_and_every_measure_is_told(stage: Stage) -> None:
    names = set(told(stage))
    for name in COUNTED.keys() - {"bytes_in", "bytes_out", "refused"}:
        assert f"outlast_{name}_total" in names
    assert {"outlast_read_bytes_total", "outlast_written_bytes_total", "outlast_errors_total"} <= names
    assert set(HISTOGRAMS) == set(Measures.__slots__)


def test_names_keep_the_conventions(stage: Stage) -> None:
    for name, kind, text, samples in told(stage).values():
        assert re.fullmatch(r"(outlast|process)_[a-z_]+", name) and text.endswith(".")
        assert (kind == "counter") == name.endswith("_total")
        assert not re.search(r"_(ms|us|milliseconds|kb|mb)(_|$)", name), "base units"
        labels = {label for suffix, _ in samples for label in re.findall(r"(\w+)=", suffix)}
        assert labels <= LABELS, "no label names a channel or a client, nor anything else without a bound"


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
    assert values(stage, "outlast_records_in_total") == {"": 2}
    assert values(stage, "outlast_errors_total")['{code="unknown_channel"}'] == 1
    assert values(stage, "outlast_connections") == {f'{{door="{door}"}}': int(door == "websocket") for door in DOORS}
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
