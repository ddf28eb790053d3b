"""Who comes by which door with what: forgeries are answered alike, names are true, ends are said, nothing is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from outlast_broker import clock
from outlast_broker.auth.authority import UNAUTHORIZED
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Error, Hello, Revoke, Welcome

from tests.doors.browser import Internet, internet
from tests.support.broker import Broker, RawClient, running_broker
from tests.support.credentials import OPERATOR, Credentials
from tests.support.forgeries import AUDIENCE, FORGERIES, ISSUER, PUBLIC_ROWS, good_token
from tests.support.web import LISTEN, Events, WebClient, port_of

RECORDS = "/v1/channels/session:42/records"
EVENTS = "/v1/channels/session:42/events"
SKEW_S = 30
# What a header cannot hold, or leaves out of its value, never gets as far as a token.
SPOKEN = {name: token for name, token in FORGERIES.items() if token.isascii() and token == token.strip()}


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("keys"), *PUBLIC_ROWS)


@pytest.fixture(scope="module")
def broker(credentials: Credentials) -> Iterator[Broker]:
    settings = credentials.settings(issuer=ISSUER, audience=AUDIENCE, query_tokens=True)
    with running_broker(listen=LISTEN, auth=settings) as broker:
        yield broker


def token(subject: str, grants: Any = OPERATOR, **claims: Any) -> str:
    now_s = clock.now_ms() // 1000
    times = {"iat": now_s, "exp": now_s + 3_600}
    return good_token(**(times | {"sub": subject, "capabilities": grants, "jti": None} | claims))


def bearer(said: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {said}"}


def online(broker: Broker, work: Callable[[Internet], Awaitable[None]]) -> None:
    async def main() -> None:
        async with internet(port_of(broker)) as net:
            await work(net)

    asyncio.run(main())


# --- forgeries --------------------------------------------------------------------------------------------


def test_over_the_native_door_every_forgery_is_answered_alike(broker: Broker) -> None:
    for name, forgery in (FORGERIES | {"none": None}).items():
        stranger = broker.stranger()
        if forgery is not None and not forgery.isprintable():
            continue
        try:
            stranger.send(Hello([1], token=forgery))
        except (UnicodeEncodeError, ValueError):
            continue  # no frame can say it
        assert stranger.expect(Error) == Error(0, ErrorCode.UNAUTHORIZED, UNAUTHORIZED), name
        stranger.sees_close()
        stranger.close()


def test_over_http_every_forgery_is_answered_alike(broker: Broker, web: WebClient) -> None:
    expected = web.ask("GET", RECORDS)
    assert (expected.status, expected.code) == (401, "unauthorized")
    assert expected.headers["WWW-Authenticate"] == 'Bearer realm="outlast"'
    for name, forgery in SPOKEN.items():
        if len(forgery) < 8_000:
            assert web.ask("GET", RECORDS, **bearer(forgery)).body == expected.body, name
    for scheme in ("Basic", "bearer2", "Token"):
        assert web.ask("GET", RECORDS, Authorization=f"{scheme} {token('alice')}").body == expected.body


def test_over_websocket_every_forgery_is_answered_alike(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        for name, forgery in SPOKEN.items():
            if len(forgery) > 8_000 or not forgery.strip() or any(letter in forgery for letter in " ,="):
                continue
            browser = await net.stranger(protocols=["outlast.v1", f"bearer.{forgery}"])
            await browser.send(Hello([1]))
            assert await browser.expect(Error) == Error(0, ErrorCode.UNAUTHORIZED, UNAUTHORIZED), name

    online(broker, work)


# --- names ------------------------------------------------------------------------------------------------


def test_a_token_comes_in_hello_in_a_subprotocol_or_in_a_header(broker: Broker) -> None:
    async def work(net: Internet) -> None:
        ways: list[tuple[dict[str, Any], str | None]] = [
            ({"protocols": ["outlast.v1", f"bearer.{token('alice')}"]}, None),
            ({"headers": bearer(token("alice"))}, None),
            ({}, token("alice")),
            ({"headers": bearer("x")}, token("alice")),
        ]
        for options, said in ways:
            browser = await net.stranger(**options)
            assert browser.socket.protocol == ("outlast.v1" if "protocols" in options else None)
            await browser.send(Hello([1], token=said))
            assert (await browser.expect(Welcome)).client_id == "alice"
        forger = await net.stranger(headers=bearer(token("alice")))
        await forger.send(Hello([1], "bob"))
        assert (await forger.expect(Error)).code == ErrorCode.FORBIDDEN

    online(broker, work)


def test_over_http_a_record_bears_the_name_that_the_token_says(broker: Broker, web: WebClient) -> None:
    stored = web.ask("POST", RECORDS, {"data": "hi"}, **bearer(token("alice")))
    assert stored.status == 201
    forged = web.ask("POST", RECORDS, {"data": "hi"}, **bearer(token("alice")), Outlast_Client="bob")
    assert (forged.status, forged.code) == (403, "forbidden")
    several = token("alice", client_id="alice:*")
    assert web.ask("POST", RECORDS, {"data": "hi"}, **bearer(several), Outlast_Client="alice:phone").status == 201
    for _ in range(2):
        again = web.ask("POST", RECORDS, {"data": "once"}, **bearer(several), Idempotency_Key="7")
    assert again.said["duplicate"] is True, "who has no name of its own has the same one each time"
    names = [row["client_id"] for row in web.get(RECORDS, **bearer(token("reader")))["records"]]
    assert names == ["alice", "alice:phone", "alice:http"]


def test_over_http_rights_are_those_of_the_frames(broker: Broker, web: WebClient) -> None:
    reader, writer = token("reader", {"tenant:*": ["history"]}), token("writer", {"tenant:*": ["publish"]})
    monitor = token("monitor", {"*": ["metrics"]})
    at = "/v1/channels/tenant:1"
    assert web.ask("POST", f"{at}/records", {"data": 1}, **bearer(writer)).status == 201
    assert web.ask("GET", f"{at}/records", **bearer(reader)).status == 200
    assert [row["channel"] for row in web.get("/v1/channels", **bearer(reader))["channels"]] == ["tenant:1"]
    verbs = {
        ("POST", f"{at}/records"): (reader, "publish"), ("GET", f"{at}/records"): (writer, "history"),
        ("GET", f"{at}/events"): (reader, "subscribe"), ("GET", f"{at}/state"): (writer, "history"),
        ("GET", f"{at}/members"): (reader, "presence"), ("GET", f"{at}/cursors"): (reader, "cursor"),
        ("DELETE", at): (writer, "manage"), ("GET", "/v1/channels/other"): (reader, "any verb"),
        ("GET", "/v1/status"): (reader, "metrics"), ("GET", "/v1/connections"): (reader, "manage"),
        ("GET", "/metrics"): (reader, "metrics"), ("GET", "/readyz?verbose"): (reader, "metrics"),
    }  # fmt: skip
    for (method, path), (said, verb) in verbs.items():
        answer = web.ask(method, path, {"data": 1} if method == "POST" else None, **bearer(said))
        assert (answer.status, answer.code, answer.said["verb"]) == (403, "forbidden", verb), path
    for path, verb in (("/v1/connections", "manage"), (at, "any verb"), (f"{at}/records", "any verb")):
        assert web.ask("GET", path, **bearer(monitor)).said["verb"] == verb, path
    for path in ("/metrics", "/readyz?verbose", "/v1/status"):
        assert web.ask("GET", path, **bearer(monitor)).status == 200, path
        assert web.ask("GET", path, **bearer(token("operator", {"*": ["manage"]}))).status == 200, path
    operations = [{"op": "set", "key": "k", "data": 1}]
    assert web.ask("PATCH", f"{at}/state", operations, **bearer(writer)).said["verb"] == "state"
    assert (
        web.ask("GET", "/v1/channels/none", **bearer(reader)).body
        == web.ask("GET", "/v1/channels/session:42", **bearer(reader)).body
    ), "whether there is such a channel is not told"


def test_what_needs_no_token(broker: Broker, web: WebClient) -> None:
    for path in ("/livez", "/readyz", "/v1/openapi.json"):
        assert web.ask("GET", path).status == 200
    for path in ("/readyz?verbose", "/metrics", "/v1/channels"):
        assert web.ask("GET", path).status == 401


# --- streams of events ------------------------------------------------------------------------------------


def ends(events: Events, code: str) -> None:
    event = events.next()
    while event.name != "failed":
        event = events.next()
    assert event.data["code"] == code
    with pytest.raises(EOFError):
        events.next()


def test_a_stream_ends_when_its_token_does(broker: Broker, web: WebClient) -> None:
    now_s = clock.now_ms() // 1000
    events = web.events(EVENTS, **bearer(token("alice", iat=now_s - 60, exp=now_s - SKEW_S + 1)))
    assert events.next().name == "attached"
    ends(events, "token_expired")


def test_a_stream_ends_when_its_token_is_revoked(broker: Broker, web: WebClient) -> None:
    events = web.events(EVENTS, **bearer(token("eve")))
    assert events.next().name == "attached"
    chief: RawClient = broker.client("chief", token=token("chief"))
    assert chief.result(Revoke(chief.request(), subject="eve")) == {"cut": 1}
    ends(events, "unauthorized")


def test_a_backend_revokes_by_http(broker: Broker, web: WebClient) -> None:
    events, backend = web.events(EVENTS, **bearer(token("mallory"))), WebClient(port_of(broker))
    assert events.next().name == "attached"
    for method, body in (("POST", {"subject": "mallory"}), ("GET", None)):
        less = bearer(token("mallory", {"*": ["history", "metrics"]}))
        refused = backend.ask(method, "/v1/revocations", body, **less)
        assert (refused.status, refused.said["verb"]) == (403, "manage")
    chief = bearer(token("chief", {"*": ["manage"]}))
    done = backend.ask("POST", "/v1/revocations", {"subject": "mallory"}, **chief)
    assert (done.status, done.said) == (201, {"cut": 1})
    ends(events, "unauthorized")
    assert "mallory" in [row.get("subject") for row in backend.get("/v1/revocations", **chief)["revocations"]]
    itself = backend.ask("POST", "/v1/revocations", {"subject": "brutus"}, **bearer(token("brutus")))
    assert (itself.status, itself.code) == (401, "unauthorized"), "who revokes itself is not believed any more"
    backend.close()


def test_a_token_in_a_query_is_good_for_a_minute_at_most(broker: Broker, web: WebClient) -> None:
    now_s = clock.now_ms() // 1000
    long = web.ask("GET", f"{EVENTS}?access_token={token('alice')}")
    assert (long.status, long.code) == (401, "unauthorized")
    assert web.ask("GET", f"{EVENTS}?access_token={token('alice', exp=now_s + 90)}").status == 401
    twice = web.ask("GET", f"{EVENTS}?access_token={token('alice', exp=now_s + 50)}", **bearer(token("alice")))
    assert twice.status == 400
    assert web.ask("GET", f"{RECORDS}?access_token={token('alice', exp=now_s + 50)}").status == 400, "events alone"
    events = web.events(f"{EVENTS}?access_token={token('alice', exp=now_s + 50)}")
    assert events.next().name == "attached"


def test_a_token_in_a_query_is_taken_only_where_it_is_allowed(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    short = credentials.token("alice", exp=clock.now_ms() // 1000 + 50)
    with running_broker(listen=LISTEN, auth=credentials.settings()) as broker:
        web = WebClient(port_of(broker))
        assert web.ask("GET", f"{EVENTS}?access_token={short}").status == 401
        web.close()


# --- secrets ----------------------------------------------------------------------------------------------


def test_no_token_is_logged_or_counted_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Good ones and bad ones, over every door, with everything logged that can be."""
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(tmp_path)
    good, bad = credentials.token("alice"), credentials.token("bob")[:-3] + "xxx"
    key = credentials.static("agent-7", secret="a-very-secret-secret")
    said: list[str] = []
    with running_broker(listen=LISTEN, auth=credentials.settings(query_tokens=True)) as broker:
        web = WebClient(port_of(broker))
        for each in (good, bad, key, key + "x"):
            stranger = broker.stranger()
            stranger.send(Hello([1], token=each))
            said.append(repr(stranger.receive()))
            said.append(web.ask("GET", RECORDS, **bearer(each)).body.decode())
            said.append(web.ask("GET", f"{EVENTS}?access_token={each}&nonsense=1").body.decode())
            said.append(web.ask("GET", f"{EVENTS}?access_token={bad}").body.decode())
            said.append(web.ask("GET", f"/v1/nothing?access_token={each}").body.decode())
        said.append(web.ask("GET", "/metrics", **bearer(good)).body.decode())
        web.close()
        broken = broker.stranger()
        broken.send_bytes(f"GET {EVENTS}?access_token={good} HTTP/9.9\r\n\r\n".encode())
    text = caplog.text + json.dumps(said) + "".join(repr(record.__dict__) for record in caplog.records)
    assert "unauthorized" in text
    for secret in (good, bad, key, "a-very-secret-secret", good.split(".")[2], bad.split(".")[2]):
        assert secret not in text
