from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from outlast_broker.auth.jwks import ALGORITHMS, read_jwks
from outlast_broker.auth.static_keys import read_static_keys
from outlast_cli.exits import Exit

from . import shell


def call(*arguments: str) -> shell.Finished:
    return shell.call("key", *arguments, url="")


def test_a_broker_can_read_a_file_of_hashes_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert call("add", str(tmp_path / "keys.toml"), "ops", "--grant", "*=all").code == Exit.OK
    finally:
        os.umask(before)
    assert (tmp_path / "keys.toml").stat().st_mode & 0o777 == 0o644


def test_a_static_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    grants = ("--grant", "session:*=publish,lease", "--grant", "session:*=claim", "--grant", "a=all")
    first = call("add", str(file), "agent-7", *grants, "--client-id", "agent:*", "--ttl", "1h")
    second = call("add", str(file), "ops", "--grant", "*=all")
    assert (first.code, second.code) == (Exit.OK, Exit.OK)
    secret = first.out.strip()
    assert secret.startswith("outlast_agent-7_") and "reload" in first.err
    assert secret.removeprefix("outlast_agent-7_") not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644, "it holds hashes, and a broker under another user reads it"
    keys = read_static_keys(file.read_text())
    identity = keys.find(secret)
    assert identity is not None and str(identity.client) == "agent:*"
    assert identity.expires_ms - identity.issued_ms == 3_600_000
    assert keys.find(second.out.strip()) is not None
    rows = [json.loads(line) for line in call("list", str(file), "--json").lines]
    assert [row["id"] for row in rows] == ["agent-7", "ops"]
    assert rows[0]["capabilities"]["session:*"] == ["publish", "lease", "claim"]
    assert rows[1]["capabilities"]["*"] == [*rows[0]["capabilities"]["a"], "metrics"], "all that a pattern can grant"
    people = call("list", str(file)).out
    assert "ops  client ops  without end" in people and "sha256" not in people


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["Agent"], "'Agent' is no id of a key"),
        (["ops"], "there are two keys 'ops'"),
        (["a", "--grant", "session"], "PATTERN=VERBS"),
        (["a", "--grant", "se*=all"], "is no pattern"),
        (["a", "--grant", "a=shout"], "'shout' is no verb"),
        (["a", "--grant", "a:*=metrics"], "metrics is about the whole broker: grant it on *"),
        (["a", "--client-id", "a*"], "no client id"),
    ],
)
def test_mistakes_change_nothing(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    file = tmp_path / "keys.toml"
    call("add", str(file), "ops")
    before = file.read_text()
    done = call("add", str(file), *arguments)
    assert done.code == Exit.USAGE and complaint in done.err and not done.out
    assert file.read_text() == before


def test_a_file_that_is_none_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("x = 1")
    assert call("add", str(file), "a").code == call("list", str(file)).code == Exit.USAGE
    assert file.read_text() == "x = 1"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_key_to_sign_with_and_its_public_part(tmp_path: Path, alg: str) -> None:
    issuer, jwks = tmp_path / "issuer.json", tmp_path / "jwks.json"
    for kid in ("one", "two"):
        made = call("make", str(issuer), "--alg", alg, "--kid", kid, "--jwks", str(jwks))
        assert made.code == Exit.OK, made.err
    assert list(read_jwks(jwks.read_text())) == ["one", "two"]
    assert issuer.stat().st_mode & 0o777 == 0o600
    assert jwks.stat().st_mode & 0o777 == (0o600 if alg == "HS256" else 0o644)
    again = call("make", str(issuer), "--alg", alg, "--kid", "one")
    assert again.code == Exit.USAGE and "already" in again.err


def test_a_secret_that_comes_to_what_everybody_could_read_is_not_read_by_everybody(tmp_path: Path) -> None:
    issuer, jwks = tmp_path / "issuer.json", tmp_path / "jwks.json"
    assert call("make", str(issuer), "--kid", "public", "--jwks", str(jwks)).code == Exit.OK
    assert call("make", str(issuer), "--kid", "shared", "--alg", "HS256", "--jwks", str(jwks)).code == Exit.OK
    assert jwks.stat().st_mode & 0o777 == 0o640


def test_what_is_no_set_of_keys_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "issuer.json"
    for text in ("[]", "{", '{"keys": 1}'):
        file.write_text(text)
        assert call("make", str(file), "--alg", "HS256").code == Exit.USAGE
        assert file.read_text() == text
