from __future__ import annotations

import pytest
from outlast_broker.web.site import VERBS

from tests.support.broker import Broker, running_broker
from tests.support.web import LISTEN, WebClient, port_of


def test_every_answer_says_how_to_take_it(web: WebClient) -> None:
    for answer in (web.ask("GET", "/v1/channels"), web.ask("GET", "/nowhere")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"].startswith("outlast/")
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_wrong_paths_and_methods(web: WebClient) -> None:
    assert web.ask("GET", "/v2/channels").code == "no_such_path"
    answer = web.ask("PUT", "/v1/channels")
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "bad_method", "GET, OPTIONS")
    assert web.ask("BREW", "/v1/channels").status in (400, 405)


def test_head_and_options(web: WebClient) -> None:
    head = web.ask("HEAD", "/v1/channels")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 0
    options = web.ask("OPTIONS", "/v1/channels")
    assert options.status == 204 and options.headers["Allow"] == "GET, OPTIONS"


def test_a_failure_of_ours_is_told_without_its_reasons(
    web: WebClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(visit: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setitem(VERBS, "list_channels", fails)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = web.ask("GET", "/v1/channels", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert (answer.status, answer.code) == (500, "internal") and b"secret" not in answer.body
    assert "request_failed" in caplog.text and trace in caplog.text, "it is told to the operator, with the trace"


def test_paths_lead_to_the_channel_that_they_name(web: WebClient, room: str) -> None:
    web.publish(f"{room}%2F..%2Fb", "inner")
    assert web.get(f"/v1/channels/{room}%2F..%2Fb")["channel"] == f"{room}/../b"
    for other in (f"{room}/../{room}%2F..%2Fb", f"{room}%2Fb", "b", f"{room}%252F..%252Fb"):
        assert web.ask("GET", f"/v1/channels/{other}").status == 404


def test_a_target_with_scheme_and_host_is_the_same(web: WebClient, room: str) -> None:
    web.publish(room, 1)
    assert web.get(f"http://localhost/v1/channels/{room}")["last"] == 1


def test_pages_of_others_may_not_come(web: WebClient, path: str) -> None:
    answer = web.ask("POST", f"{path}/records", b"x", Content_Type="text/plain", Origin="https://evil.example")
    assert (answer.status, answer.code) == (403, "bad_origin")
    assert web.ask("GET", "/v1/channels", Host="evil.example").code == "bad_host"
    assert web.ask("GET", path).status == 404


def test_pages_that_are_allowed_are_told_so() -> None:
    origin = "https://app.example.org"
    with running_broker(listen=LISTEN, allow_origins=(origin,)) as broker:
        web = WebClient(port_of(broker))
        for answer in (web.ask("GET", "/v1/channels", Origin=origin), web.ask("GET", "/nowhere", Origin=origin)):
            assert answer.headers["Access-Control-Allow-Origin"] == origin and answer.headers["Vary"] == "Origin"
        preflight = web.ask("OPTIONS", "/v1/channels/a/records", Origin=origin)
        assert preflight.status == 204
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
        with_stream = WebClient(port_of(broker))
        stream = with_stream.events("/v1/channels/a/events", Origin=origin)
        assert stream.response.headers["Access-Control-Allow-Origin"] == origin
        with_stream.close()
        web.close()


def test_a_unix_socket_is_a_door_as_well(broker: Broker) -> None:
    web = WebClient(broker.path)
    assert web.ask("GET", "/livez", Host="whatever").body == b"ok\n"
    web.close()


def test_connections_are_kept(web: WebClient) -> None:
    for _ in range(3):
        assert web.ask("GET", "/livez").headers.get("Connection") in (None, "keep-alive")


def test_one_who_keeps_a_connection_does_not_hold_up_the_end() -> None:
    with running_broker(listen=LISTEN, drain_ms=60_000) as broker:
        web = WebClient(port_of(broker))
        web.ask("GET", "/livez")
        silent = broker.stranger()
        broker.stop()
        assert broker.error is None
        silent.sees_close()
        web.close()
