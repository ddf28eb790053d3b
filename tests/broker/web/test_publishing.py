from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker, running_broker
from tests.support.web import LISTEN, Answer, WebClient, port_of


def test_one_record_and_several(web: WebClient, path: str) -> None:
    answer = web.ask("POST", f"{path}/records", {"data": {"a": 1}, "name": "n", "headers": {"h": "v"}})
    assert answer.status == 201
    said = answer.said
    assert (said["first_offset"], said["last_offset"], said["duplicate"]) == (1, 1, False)
    more = web.ask("POST", f"{path}/records", [{"data": "b"}, {"data": "AAE=", "encoding": "base64"}]).said
    assert (more["first_offset"], more["last_offset"]) == (2, 3)
    assert more["position"] == said["position"][:-1] + "3"
    records = web.get(f"{path}/records")["records"]
    assert [record["data"] for record in records] == [{"a": 1}, "b", "AAE="]
    assert records[0]["name"] == "n" and records[0]["headers"] == {"h": "v"} and records[0]["client_id"] == "http"


def test_an_array_is_stored_whole_or_not_at_all(web: WebClient, path: str) -> None:
    answer = web.ask("POST", f"{path}/records", [{"data": "a"}, {"data": "x" * 100, "name": "n" * 300}])
    assert answer.status == 400 and answer.code == "bad_batch"
    assert web.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("kind", "body", "encoding", "data"),
    [
        ("text/plain", "ü".encode(), "text", "ü"),
        ("text/plain; charset=UTF-8", b"", "text", ""),
        ("application/octet-stream", b"\0\xff", "base64", base64.b64encode(b"\0\xff").decode()),
    ],
)
def test_a_body_as_it_is(web: WebClient, path: str, kind: str, body: bytes, encoding: str, data: str) -> None:
    query = "?header=a:1&header=b:x:y&ttl_ms=60000"
    answer = web.ask("POST", f"{path}/records{query}", body, Content_Type=kind, Outlast_Name="n", Outlast_Client="me")
    assert answer.status == 201
    [record] = web.get(f"{path}/records")["records"]
    assert (record["encoding"], record["data"], record["name"]) == (encoding, data, "n")
    assert record["headers"] == {"a": "1", "b": "x:y"} and record["ttl_ms"] == 60_000
    assert record["client_id"] == "me"


def test_the_name_in_the_query_counts(web: WebClient, path: str) -> None:
    web.ask("POST", f"{path}/records?name=q", b"x", Content_Type="text/plain", Outlast_Name="h")
    assert web.get(f"{path}/records")["records"][0]["name"] == "q"


def refusals(web: WebClient, path: str) -> list[Answer]:
    records = f"{path}/records"
    text = {"Content_Type": "text/plain"}
    return [
        web.ask("POST", records, b"{", Content_Type="application/json"),
        web.ask("POST", records, []),
        web.ask("POST", f"{records}?name=x", {"data": 1}),
        web.ask("POST", f"{records}?header=x", b"x", **text),
        web.ask("POST", f"{records}?ttl_ms=-1", b"x", **text),
        web.ask("POST", f"{records}?nmae=x", b"x", **text),
        web.ask("POST", f"{records}?if_offset=x", b"x", **text),
        web.ask("POST", records, b"\xff", **text),
        web.ask("POST", records, {"data": 1, "name": "\ud800"}),
        web.ask("POST", records, {"data": 1}, Outlast_Client="x" * 200),
        web.ask("POST", records, {"data": 1}, Idempotency_Key="x" * 300),
        web.ask("POST", f"/v1/channels/{'x' * 256}/records", {"data": 1}),
    ]


def test_what_is_wrong_is_said_and_stores_nothing(web: WebClient, path: str) -> None:
    assert [answer.status for answer in refusals(web, path)] == [400] * 12
    assert web.ask("GET", path).status == 404


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain; charset=latin-1", "text/html"])
def test_another_kind_of_body_is_not_taken(web: WebClient, path: str, kind: str) -> None:
    answer = web.ask("POST", f"{path}/records", b"x=1", Content_Type=kind)
    assert answer.status == 415 and "text/plain" in answer.said["advice"]


def test_a_condition(web: WebClient, path: str) -> None:
    assert web.ask("POST", f"{path}/records?if_offset=0", {"data": 1}).status == 201
    answer = web.ask("POST", f"{path}/records?if_offset=0", {"data": 2})
    assert (answer.status, answer.code, answer.said["last"]) == (412, "offset_mismatch", 1)


# --- once -------------------------------------------------------------------------------------------------


def test_what_is_sent_again_under_its_key_is_stored_once(web: WebClient, path: str) -> None:
    first = web.ask("POST", f"{path}/records", [{"data": 1}, {"data": 2}], Idempotency_Key="k")
    web.publish(path.rsplit("/", 1)[1], "between")
    again = web.ask("POST", f"{path}/records", [{"data": 1}, {"data": 2}], Idempotency_Key="k")
    assert again.status == 201 and again.said == first.said | {"duplicate": True}
    assert web.get(path)["last"] == 3


def test_a_key_is_its_clients_and_its_channels_own(web: WebClient, path: str) -> None:
    for client in ("a", "b"):
        answer = web.ask("POST", f"{path}/records", {"data": 1}, Idempotency_Key="k", Outlast_Client=client)
        assert answer.said["duplicate"] is False
    assert web.ask("POST", f"{path}-2/records", {"data": 1}, Idempotency_Key="k").said["duplicate"] is False


def test_a_key_that_is_used_for_something_else_is_refused(web: WebClient, path: str) -> None:
    web.ask("POST", f"{path}/records", {"data": 1}, Idempotency_Key="k")
    answer = web.ask("POST", f"{path}/records", {"data": 2}, Idempotency_Key="k")
    assert (answer.status, answer.code) == (422, "key_reused")


def test_a_refused_publish_does_not_use_up_its_key(web: WebClient, path: str) -> None:
    assert web.ask("POST", f"{path}/records?if_offset=7", {"data": 1}, Idempotency_Key="k").status == 412
    assert web.ask("POST", f"{path}/records", {"data": 1}, Idempotency_Key="k").said["duplicate"] is False


def test_keys_are_remembered_over_a_restart(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    for _ in range(2):
        with running_broker(tmp_path, listen=LISTEN) as broker:
            web = WebClient(port_of(broker))
            said.append(web.ask("POST", "/v1/channels/a/records", {"data": 1}, Idempotency_Key="k").said)
            web.close()
    assert [each["duplicate"] for each in said] == [False, True]
    assert said[0]["position"] == said[1]["position"]


def test_keys_make_the_channel_forget_no_producer(broker: Broker, web: WebClient, room: str, path: str) -> None:
    """A channel remembers 64 of those: a flow of single requests must not push the agents out."""
    alice = broker.client("alice", producer=(7, 1))
    number = alice.open(room).number
    assert alice.publish(number, "x", sequence=1) == (1, False)
    for at in range(70):
        web.ask("POST", f"{path}/records", {"data": 1}, Idempotency_Key=str(at))
    assert alice.publish(number, "x", sequence=1) == (1, True)


# --- state, cursors, the end ------------------------------------------------------------------------------


def test_the_state_is_changed_all_or_none(web: WebClient, path: str) -> None:
    done = web.ask("PATCH", f"{path}/state", [
        {"op": "set", "key": "plan", "data": {"step": 1}}, {"op": "increment", "key": "tries", "by": 2}])  # fmt: skip
    assert done.status == 200 and done.said["last_offset"] == 2
    failed = web.ask("PATCH", f"{path}/state", [
        {"op": "unset", "key": "plan"}, {"op": "set", "key": "tries", "data": 9, "version": 1}])  # fmt: skip
    assert (failed.status, failed.code, failed.said["key"]) == (412, "version_mismatch", "tries")
    state = {row["key"]: row["data"] for row in web.get(f"{path}/state")["state"]}
    assert state == {"plan": {"step": 1}, "tries": 2}


def test_a_change_is_made_once_too(web: WebClient, path: str) -> None:
    for _ in range(2):
        web.ask("PATCH", f"{path}/state", [{"op": "increment", "key": "n", "by": 1}], Idempotency_Key="k")
    assert web.get(f"{path}/state")["state"][0]["data"] == 1


def test_a_cursor_moves_and_never_goes_back(web: WebClient, room: str, path: str) -> None:
    position = web.publish(room, 1, 2, 3)["position"]
    assert web.ask("PUT", f"{path}/cursors/my%20phone", {"position": position}).said["offset"] == 3
    assert web.ask("PUT", f"{path}/cursors/my%20phone", {"offset": 1}).said["offset"] == 3
    [cursor] = web.get(f"{path}/cursors")["cursors"]
    assert (cursor["cursor"], cursor["offset"], cursor["lag"]) == ("my phone", 3, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"offset": -1}, 400), ({"offset": True}, 400), ({"offset": 1, "position": "x"}, 400),
        ({"position": "x"}, 400), ({"position": 1}, 400), ({"offset": "1"}, 400), ([], 400), ({"offset": 9}, 409),
        ({"position": "0000000000000000:1"}, 410),
    ],
)  # fmt: skip
def test_where_no_cursor_can_stand(web: WebClient, room: str, path: str, body: object, status: int) -> None:
    web.publish(room, 1)
    assert web.ask("PUT", f"{path}/cursors/c", body).status == status


def test_a_cursor_makes_no_channel(web: WebClient, path: str) -> None:
    assert web.ask("PUT", f"{path}/cursors/c", {"offset": 0}).status == 404


def test_a_channel_is_deleted(web: WebClient, room: str, path: str) -> None:
    epoch = web.publish(room, 1)["position"].split(":")[0]
    assert web.ask("DELETE", path).said == {"channel": room, "epoch": epoch}
    assert web.ask("DELETE", path).status == 404
