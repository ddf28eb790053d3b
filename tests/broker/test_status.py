"""PROTOCOL.md 6.16, over a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker.greeting import AGENT_LETTERS_MAX, SERVER
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Connections, Hello, Status, Welcome

from tests.broker.stage import Stage
from tests.support.broker import Broker, RawClient, running_broker
from tests.support.tree import ROOT, table

SPECIFICATION = (ROOT / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker() as broker:
        yield broker


@pytest.fixture
def alice(broker: Broker) -> Iterator[RawClient]:
    alice = broker.client("alice")
    yield alice
    alice.close()


def status(client: RawClient) -> dict[str, Any]:
    return client.result(Status(client.request()))


def rows(client: RawClient, **asked: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.result(Connections(client.request(), **asked))["connections"]
    return found


def test_the_keys_of_status_are_those_of_the_protocol(alice: RawClient) -> None:
    stated = [key for keys, _ in table(SPECIFICATION, "key", "says") for key in keys.split(", ")]
    assert stated == list(status(alice)), "PROTOCOL.md 6.16 and status.py say the same, in the same order"


def test_the_keys_of_connections_are_those_of_the_protocol(alice: RawClient) -> None:
    found = re.search(r"^\| CONNECTIONS \| connections: \[{(.*)}\]", SPECIFICATION, re.MULTILINE)
    assert found is not None and found[1].split(", ") == list(rows(alice)[0])


def test_status_tells_what_has_happened(alice: RawClient) -> None:
    before = status(alice)
    number = alice.open("status").number
    alice.subscribe(number)
    alice.publish(number, "a", "b", "c")
    after = status(alice)
    grown = {key: after[key] - before[key] for key in ("records_in", "channels", "channels_loaded", "subscriptions")}
    assert grown == {"records_in": 3, "channels": 1, "channels_loaded": 1, "subscriptions": 1}
    assert after["server"] == SERVER and after["started_ms"] <= before["time_ms"] <= after["time_ms"]
    assert after["commits"] > before["commits"] and after["connections_unix"] >= 1
    assert (after["leaving"], after["refusing"], after["subscriptions_behind"]) == (False, "", 0)
    assert 0 < after["commit_p50_us"] <= after["commit_p99_us"]
    assert 0 < after["publish_p50_us"] <= after["publish_p99_us"]
    assert 0 < after["journal_bytes"] <= after["store_used_bytes"] <= after["store_map_bytes"]
    assert after["disk_free_bytes"] == 0, "all is kept in memory here"
    assert after["memory_bytes"] > 1 << 20


def test_a_broker_that_takes_no_changes_says_why(stage: Stage) -> None:
    alice = stage.client("alice")
    stage.engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is full", retry_after_ms=5_000)
    assert alice.result(Status(9))["refusing"] == "read_only: the disk is full"


def test_who_is_connected(broker: Broker, alice: RawClient) -> None:
    bob = broker.stranger("bob")
    bob.send(Hello([1], "bob", agent="reader/1.2" * 20))
    bob.expect(Welcome)
    number = bob.open("connections").number
    bob.subscribe(number, credit=0, start="latest")
    row = rows(alice)[-1]
    assert row.pop("since_ms") <= status(alice)["time_ms"]
    assert row.pop("id") > rows(alice)[0]["id"]
    assert row == {
        "client_id": "bob", "agent": ("reader/1.2" * 20)[:AGENT_LETTERS_MAX], "door": "unix", "address": "",
        "channels": 1, "subscriptions": 1, "behind": 1, "waiting_bytes": 0,
    }  # fmt: skip
    bob.close()


def test_they_come_in_pages(broker: Broker, alice: RawClient) -> None:
    clients = [broker.client(f"paged-{index}") for index in range(5)]
    known = rows(alice)
    for client in clients:
        status(client)
    first = alice.result(Connections(alice.request(), known[-6]["id"], 2))
    assert [row["client_id"] for row in first["connections"]] == ["paged-0", "paged-1"] and first["more"]
    rest = alice.result(Connections(alice.request(), first["connections"][-1]["id"], 3))
    assert [row["client_id"] for row in rest["connections"]] == ["paged-2", "paged-3", "paged-4"] and not rest["more"]
    for client in clients:
        client.close()


@pytest.mark.parametrize("limit", [0, 1_001, 2**63])
def test_a_page_has_a_bound(alice: RawClient, limit: int) -> None:
    alice.refused(Connections(90, limit=limit), ErrorCode.BAD_BODY)


def test_the_longest_page_fits_a_frame(stage: Stage) -> None:
    alice = stage.client("alice")
    for _ in range(1_001):
        other = stage.client("c" * 128)
        other.connection.agent = "🦊" * AGENT_LETTERS_MAX
        other.connection.came_by("websocket", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
    result = alice.result(Connections(9, 0, 1_000))
    assert len(result["connections"]) == 1_000 and result["more"]
