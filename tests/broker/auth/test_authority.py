"""Who is let in, who is cut off, and when (PROTOCOL.md 3.7)."""

from __future__ import annotations

from pathlib import Path

import pytest
from outlast_broker import clock
from outlast_broker.auth.authority import UNAUTHORIZED, BadKeys
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Error, Hello, Reply, Revocations, Revoke, Welcome

from tests.broker.stage import Stage, Time
from tests.support.broker import Broker, RawClient, running_broker
from tests.support.credentials import KEY, OPERATOR, Credentials, secret_key

OTHER_KEY = KEY | {"kid": "two", "k": "A" * 43}


def answer_to(broker: Broker, token: str | None, client_id: str | None = None) -> Error | Welcome:
    stranger = broker.stranger()
    stranger.send(Hello([1], client_id, token=token))
    said = stranger.receive()
    assert isinstance(said, Error | Welcome)
    if isinstance(said, Error):
        stranger.sees_close()
    return said


def code_of(said: Error | Welcome) -> ErrorCode:
    assert isinstance(said, Error), said
    return ErrorCode(said.code)


def ends_with(client: RawClient, code: ErrorCode) -> None:
    assert code_of(client.expect(Error)) is code
    client.sees_close()


# --- who comes --------------------------------------------------------------------------------------------


def test_who_has_a_token_or_a_key_is_let_in(credentials: Credentials) -> None:
    key = credentials.static("agent-7")
    with running_broker(auth=credentials.settings()) as broker:
        welcome = answer_to(broker, credentials.token("alice"))
        assert isinstance(welcome, Welcome)
        assert welcome.client_id == "alice" and 3_600_000 < (welcome.expires_in_ms or 0) <= 3_630_000
        welcome = answer_to(broker, key)
        assert isinstance(welcome, Welcome)
        assert (welcome.client_id, welcome.expires_in_ms) == ("agent-7", None)


@pytest.mark.parametrize("token", [None, "", "x", "outlast_agent-7_wrong", "a.b.c"])
def test_who_has_none_is_not_and_is_told_no_more_than_that(guarded: Broker, token: str | None) -> None:
    assert answer_to(guarded, token) == Error(0, ErrorCode.UNAUTHORIZED, UNAUTHORIZED)


def test_nobody_takes_anothers_name(guarded: Broker, credentials: Credentials) -> None:
    assert code_of(answer_to(guarded, credentials.token("alice"), "bob")) is ErrorCode.FORBIDDEN
    several = credentials.token("alice", client_id="alice:*")
    for client_id, name in ((None, None), ("alice:phone", "alice:phone")):
        welcome = answer_to(guarded, several, client_id)
        assert isinstance(welcome, Welcome) and welcome.client_id.startswith(name or "alice:")
    assert code_of(answer_to(guarded, several, "alicia:phone")) is ErrorCode.FORBIDDEN
    assert code_of(answer_to(guarded, credentials.token("*"), "bob")) is ErrorCode.FORBIDDEN
    assert code_of(answer_to(guarded, credentials.token("bob:*"), "bob:x")) is ErrorCode.FORBIDDEN


def test_records_bear_the_name_that_the_token_says(guarded: Broker, credentials: Credentials) -> None:
    bob = guarded.client("bob", token=credentials.token("bob"))
    number = bob.open("room").number
    bob.id = "alice"
    bob.refused(bob.publishing(number, "hello"), ErrorCode.CLIENT_MISMATCH)


def test_without_keys_everybody_may_everything() -> None:
    with running_broker() as broker:
        assert isinstance(answer_to(broker, "whatever", "alice"), Welcome)


@pytest.mark.parametrize("text", ["{", '{"keys": 1}'])
def test_a_broker_with_bad_keys_does_not_start(credentials: Credentials, text: str) -> None:
    credentials.jwks.write_text(text)
    with pytest.raises(BadKeys, match="jwks.json: it is no J"), running_broker(auth=credentials.settings()):
        """Never reached."""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.keys.unlink()
    with pytest.raises(BadKeys, match="keys.toml: No such file"), running_broker(auth=credentials.settings()):
        """Never reached."""


# --- the end of a token -----------------------------------------------------------------------------------


def test_at_its_expiry_a_connection_is_told_and_closed(credentials: Credentials, time: Time) -> None:
    stage = Stage(auth=credentials.settings())
    try:
        actor = stage.stranger("alice")
        actor.send(Hello([1], "alice", token=credentials.token("alice", exp=time.ms // 1000 + 60)))
        assert actor.expect(Welcome).expires_in_ms == 90_000
        actor.open("room")
        time.advance(89_999)
        stage.tick()
        assert actor.silent and not actor.wire.closed
        time.advance(1)
        stage.tick()
        assert code_of(actor.expect(Error)) is ErrorCode.TOKEN_EXPIRED and actor.wire.closed
        late = stage.stranger("alice")
        late.send(Hello([1], "alice", token=credentials.token("alice", exp=time.ms // 1000 - 60)))
        assert code_of(late.expect(Error)) is ErrorCode.TOKEN_EXPIRED
    finally:
        stage.close()


def test_a_static_key_may_end_too(credentials: Credentials, time: Time) -> None:
    key = credentials.static("agent", more="expires = 2023-11-14T22:13:21Z")
    stage = Stage(auth=credentials.settings())
    try:
        actor = stage.stranger("agent")
        actor.send(Hello([1], None, token=key))
        assert actor.expect(Welcome).expires_in_ms == 1_000
        time.advance(1_000)
        stage.tick()
        assert code_of(actor.expect(Error)) is ErrorCode.TOKEN_EXPIRED
        late = stage.stranger("agent")
        late.send(Hello([1], None, token=key))
        assert code_of(late.expect(Error)) is ErrorCode.TOKEN_EXPIRED
    finally:
        stage.close()


# --- revocation -------------------------------------------------------------------------------------------


def test_who_is_revoked_is_cut_off_and_stays_out_over_a_restart(credentials: Credentials, tmp_path: Path) -> None:
    token, other = credentials.token("alice"), credentials.token("bob", jti="7f3a")
    operator = credentials.token("operator")
    with running_broker(tmp_path / "data", auth=credentials.settings()) as broker:
        alice, bob = broker.client("alice", token=token), broker.client("bob", token=other)
        chief = broker.client("operator", token=operator)
        assert chief.result(Revoke(chief.request(), subject="alice")) == {"cut": 1}
        ends_with(alice, ErrorCode.UNAUTHORIZED)
        bob.hears_nothing()
        assert chief.result(Revoke(chief.request(), token_id="7f3a")) == {"cut": 1}
        ends_with(bob, ErrorCode.UNAUTHORIZED)
    with running_broker(tmp_path / "data", auth=credentials.settings()) as broker:
        for each in (token, other):
            assert answer_to(broker, each) == Error(0, ErrorCode.UNAUTHORIZED, UNAUTHORIZED)
        chief = broker.client("operator", token=operator)
        rows = chief.result(Revocations(chief.request()))["revocations"]
        assert [row.get("subject") or row["token_id"] for row in rows] == ["7f3a", "alice"]
        later = credentials.token("alice", iat=clock.now_ms() // 1000 + 1)
        assert isinstance(answer_to(broker, later), Welcome), "a token that was issued later is believed"


def test_rows_go_when_the_last_token_has_expired(credentials: Credentials, time: Time) -> None:
    credentials.static("agent")
    stage = Stage(auth=credentials.settings(lifetime_ms=60_000))
    try:
        chief = stage.stranger("operator")
        chief.send(Hello([1], None, token=credentials.token("operator", exp=time.ms // 1000 + 60)))
        chief.expect(Welcome)
        for subject in ("alice", "agent"):
            chief.result(Revoke(chief.request(), subject=subject))
        time.advance(120_000)
        stage.tick()
        stage.idle()
        rows = stage.log.rows(0, b"R")
        assert [key for key in rows if b"alice" in key] == []
        assert len(rows) == 1, "a static key does not expire by itself"
    finally:
        stage.close()


# --- reload -----------------------------------------------------------------------------------------------


def reloaded(broker: Broker) -> str:
    said: str = broker.call(lambda server: server.engine.authority.prepare(server.engine.authority.settings)())
    return said


def test_keys_are_rotated_without_an_interruption(guarded: Broker, credentials: Credentials) -> None:
    old, new = credentials.token("alice"), credentials.token("bob", key=secret_key("two", "A" * 43))
    alice = guarded.client("alice", token=old)
    assert code_of(answer_to(guarded, new)) is ErrorCode.UNAUTHORIZED
    credentials.write(KEY, OTHER_KEY)
    assert "0 connections" in reloaded(guarded)
    alice.hears_nothing()
    bob = guarded.client("bob", token=new)
    credentials.write(OTHER_KEY)
    assert reloaded(guarded) == "keys: 0 new, 1 gone, 1 connections cut off"
    ends_with(alice, ErrorCode.UNAUTHORIZED)
    bob.hears_nothing()
    assert code_of(answer_to(guarded, old)) is ErrorCode.UNAUTHORIZED


def test_a_bad_file_changes_nothing(guarded: Broker, credentials: Credentials) -> None:
    alice = guarded.client("alice", token=credentials.token("alice"))
    for spoil in (lambda: credentials.jwks.write_text("{"), credentials.jwks.unlink):
        spoil()
        with pytest.raises(BadKeys, match="jwks.json"):
            reloaded(guarded)
    alice.hears_nothing()
    assert isinstance(answer_to(guarded, credentials.token("alice")), Welcome)


def test_a_static_key_that_is_gone_or_grants_less_cuts_its_bearers_off(credentials: Credentials) -> None:
    keys = {name: credentials.static(name, {"a": ["publish"]}, secret=name) for name in ("gone", "less", "same")}
    with running_broker(auth=credentials.settings()) as broker:
        clients = {name: broker.client(name, token=key) for name, key in keys.items()}
        credentials.keys.write_text("")
        credentials.static("less", {"a": ["subscribe"]}, secret="less")
        credentials.static("same", {"a": ["publish"]}, secret="same")
        assert reloaded(broker) == "keys: 1 new, 2 gone, 2 connections cut off"
        assert reloaded(broker) == "", "nothing is different"
        for name in ("gone", "less"):
            ends_with(clients[name], ErrorCode.UNAUTHORIZED)
        clients["same"].hears_nothing()


def test_who_left_is_not_remembered(guarded: Broker, credentials: Credentials) -> None:
    alice = guarded.client("alice", token=credentials.token("alice", OPERATOR))
    chief = guarded.client("operator", token=credentials.token("operator"))
    alice.close()
    chief.hears_nothing()
    answer = chief.ask(Revoke(chief.request(), subject="alice"))
    assert isinstance(answer, Reply)
