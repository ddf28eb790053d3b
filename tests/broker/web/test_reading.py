from __future__ import annotations

from typing import Any

import pytest
from outlast_protocol.batch import LabelKey, encode_labelled
from outlast_protocol.frames import UNCONDITIONAL, Enter, Publish, Truncate
from outlast_protocol.operations import MessageState, Op, Operation

from tests.support.broker import Broker
from tests.support.web import WebClient


def offsets(page: dict[str, Any]) -> list[int]:
    return [record["offset"] for record in page["records"]]


@pytest.fixture
def ten(web: WebClient, room: str) -> str:
    """The epoch of the channel, which holds records 1 to 10 in batches of two."""
    for at in range(5):
        said = web.publish(room, 2 * at + 1, 2 * at + 2)
    return str(said["position"]).split(":")[0]


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ("", list(range(1, 11)), False), ("?limit=3", [1, 2, 3], True), ("?after=7", [8, 9, 10], False),
        ("?last=3", [8, 9, 10], False), ("?last=5&limit=2", [6, 7], True), ("?start=latest", [], False),
        ("?backwards=true&limit=3", [8, 9, 10], True), ("?before=4", [1, 2, 3], False),
        ("?before=9&limit=2", [7, 8], True), ("?since_ms=0&limit=1", [1], True), ("?raw=1&limit=1", [1], True),
        ("?after=10", [], False), ("?last=0", [], False),
    ],
)  # fmt: skip
def test_pages(web: WebClient, path: str, ten: str, query: str, expected: list[int], more: bool) -> None:
    page = web.get(f"{path}/records{query}")
    assert (offsets(page), page["more"], page["first"], page["last"]) == (expected, more, 1, 10)


def test_page_by_page(web: WebClient, path: str, ten: str) -> None:
    seen, query = [], "?limit=3"
    while True:
        page = web.get(f"{path}/records{query}")
        seen += offsets(page)
        if not page["more"]:
            break
        query = f"?limit=3&after={page['after']}"
    assert seen == list(range(1, 11))
    back = web.get(f"{path}/records?backwards=1&limit=4")
    assert offsets(web.get(f"{path}/records?limit=4&before={back['before']}")) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?limit=0", 400, "bad_body"), ("?limit=1001", 400, "bad_body"), ("?limit=x", 400, "bad_body"),
        ("?limit=1&limit=2", 400, "bad_body"), ("?after=x", 400, "bad_body"), ("?after=-1", 400, "bad_body"),
        ("?start=middle", 400, "bad_body"), ("?after=1&last=2", 400, "bad_body"), ("?raw=maybe", 400, "bad_body"),
        ("?backwards&last=2", 400, "bad_body"), ("?offset=1", 400, "bad_body"), ("?after=%ff", 400, "bad_body"),
        ("?after=11", 409, "offset_ahead"), ("?after=0000000000000000:1", 410, "stale_epoch"),
        ("?before=0000000000000000:1", 410, "stale_epoch"), ("?after=99999999999999999999", 400, "bad_body"),
    ],
)  # fmt: skip
def test_pages_that_cannot_be(web: WebClient, path: str, ten: str, query: str, status: int, code: str) -> None:
    answer = web.ask("GET", f"{path}/records{query}")
    assert (answer.status, answer.code) == (status, code)


def test_what_is_past_retention(broker: Broker, web: WebClient, room: str, path: str, ten: str) -> None:
    alice = broker.client()
    alice.result(Truncate(alice.request(), room, 5))
    answer = web.ask("GET", f"{path}/records?after=1")
    assert (answer.status, answer.code, answer.said["first"]) == (410, "trimmed", 5)


def test_a_long_page(web: WebClient, room: str, path: str) -> None:
    web.publish(room, *range(950))
    assert offsets(web.get(f"{path}/records?limit=1000")) == list(range(1, 951))


def test_channels(web: WebClient, room: str, path: str) -> None:
    for name in (f"{room}-a", f"{room}-b", f"{room}-c"):
        web.publish(name, 1)
    page = web.get(f"/v1/channels?prefix={room}&limit=2")
    assert [row["channel"] for row in page["channels"]] == [f"{room}-a", f"{room}-b"] and page["more"] is True
    rest = web.get(f"/v1/channels?prefix={room}&after={room}-b")
    assert [row["channel"] for row in rest["channels"]] == [f"{room}-c"] and rest["more"] is False
    said = web.get(f"{path}-a")
    assert said["last"] == 1 and said["position"] == f"{said['epoch']}:1" and said["retention"]["records"] == 0
    assert "number" not in said


def test_the_broker_itself(web: WebClient) -> None:
    said = web.get("/v1/status")
    assert said["refusing"] == "" and said["connections_http"] == 1, "the one that asks"
    row = web.get("/v1/connections?limit=1000")["connections"][-1]
    assert (row["door"], row["client_id"], row["subscriptions"]) == ("http", "http", 0)
    assert row["address"].startswith("127.0.0.1:")
    assert web.get(f"/v1/connections?after={row['id'] + 1}")["connections"] == []


@pytest.mark.parametrize("tail", ["", "/records", "/state", "/members", "/cursors", "/messages/1"])
def test_asking_makes_no_channel(web: WebClient, path: str, tail: str) -> None:
    answer = web.ask("GET", f"{path}{tail}")
    assert (answer.status, answer.code) == (404, "unknown_channel")


def operation(op: Op, message: int = 0, **more: Any) -> LabelKey:
    return (1, None, (), Operation(op, message, **more), 0)


def test_messages_are_folded_unless_asked(broker: Broker, web: WebClient, room: str, path: str) -> None:
    alice = broker.client("alice")
    number = alice.open(room).number
    rows = [
        (operation(Op.OPEN), b"Once "), (operation(Op.APPEND, 1), b"upon "), (operation(Op.APPEND, 1), b"a time"),
        (operation(Op.CLOSE, 1, state=MessageState.COMPLETE), b"done"),
    ]  # fmt: skip
    for row in rows:
        alice.ask(Publish(alice.request(), number, 0, UNCONDITIONAL, 0, encode_labelled("alice", [row])))
    [message] = web.get(f"{path}/records")["records"]
    assert message["data"] == "Once upon a time" and message["offset"] == 4
    assert message["operation"] == {"op": "folded", "message": 1, "state": "complete", "reason": "done"}
    assert web.get(f"{path}/messages/1") == message
    raw = web.get(f"{path}/records?raw=true")["records"]
    assert [record["operation"]["op"] for record in raw] == ["open", "append", "append", "close"]
    assert web.ask("GET", f"{path}/messages/2").code == "unknown_message"
    assert web.ask("GET", f"{path}/messages/x").code == "bad_body"


def test_members(broker: Broker, web: WebClient, room: str, path: str) -> None:
    alice = broker.client("alice")
    number = alice.open(room).number
    for member in (1, 2**64 - 1):
        alice.result(Enter(alice.request(), number, member, 2, b'{"name": "A"}'))
    page = web.get(f"{path}/members?limit=1")
    assert (page["present"], page["away"], page["more"]) == (2, 0, True)
    [row] = page["members"]
    assert (row["client_id"], row["member"], row["status"], row["data"]) == (
        "alice",
        f"{1:016x}",
        "present",
        {"name": "A"},
    )
    rest = web.get(f"{path}/members?after_client=alice&after_member={row['member']}")
    assert [each["member"] for each in rest["members"]] == ["f" * 16]
    assert web.ask("GET", f"{path}/members?after_client=alice&after_member=1").code == "bad_body"


def test_cursors_page_by_page(web: WebClient, room: str, path: str) -> None:
    web.publish(room, 1)
    for name in ("a", "b"):
        web.ask("PUT", f"{path}/cursors/{name}", {"offset": 1})
    page = web.get(f"{path}/cursors?limit=1")
    assert [row["cursor"] for row in page["cursors"]] == ["a"] and page["more"] is True
    assert [row["cursor"] for row in web.get(f"{path}/cursors?after=a")["cursors"]] == ["b"]
