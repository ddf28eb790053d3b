from __future__ import annotations

import json
from pathlib import Path

import pytest
from outlast_cli.exits import Exit

from tests.support.broker import running_broker
from tests.support.credentials import KEY, OPERATOR, Credentials

from . import shell

GRANTS = {"session:*": ["publish", "subscribe"]}


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


def issue(credentials: Credentials, *arguments: str) -> shell.Finished:
    return shell.call("token", "issue", "--key", str(credentials.jwks), *arguments, url="")


def test_a_token_that_is_issued_is_believed(credentials: Credentials) -> None:
    done = issue(credentials, "--subject", "alice", "--grant", "session:*=publish,subscribe", "--ttl", "5m",
                 "--client-id", "alice:*", "--audience", "outlast", "--issuer", "me")  # fmt: skip
    assert done.code == Exit.OK, done.err
    shown = shell.run("token", "inspect", "--jwks", str(credentials.jwks), stdin=done.out.encode())
    assert shown.code == Exit.OK and "believed until" in shown.err
    said = json.loads(shown.out)
    assert said["header"] == {"alg": "HS256", "typ": "JWT", "kid": "one"}
    claims = said["claims"]
    assert (claims["sub"], claims["client_id"], claims["capabilities"]) == ("alice", "alice:*", GRANTS)
    assert (claims["aud"], claims["iss"], claims["exp"] - claims["iat"]) == ("outlast", "me", 300)
    assert len(claims["jti"]) == 16


def test_a_token_that_is_not_believed_says_why(credentials: Credentials) -> None:
    token = issue(credentials, "--subject", "alice").out
    credentials.write(KEY | {"kid": "two"})
    judged = shell.run("token", "inspect", "--jwks", str(credentials.jwks), stdin=token.encode())
    assert judged.code == Exit.REFUSED and "not believed: its kid is not ours" in judged.err
    assert shell.run("token", "inspect", stdin=token.encode()).code == Exit.OK
    assert shell.run("token", "inspect", stdin=b"no token").code == Exit.USAGE


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--subject", "a\nb"], "its sub is missing or no name"),
        (["--subject", "a", "--client-id", "a*"], "no client id"),
        (["--subject", "a", "--kid", "other"], "has no key 'other'"),
        (["--subject", "a", "--grant", "a"], "PATTERN=VERBS"),
        ([], "Missing option '--subject'"),
    ],
)
def test_mistakes(credentials: Credentials, arguments: list[str], complaint: str) -> None:
    done = issue(credentials, *arguments)
    assert done.code == Exit.USAGE and complaint in done.err and not done.out


def test_a_verb_takes_a_token_from_a_file_the_environment_or_a_flag(credentials: Credentials, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(credentials.token("alice", GRANTS) + "\n")
    with running_broker(auth=credentials.settings()) as broker:
        url = f"outlast+unix://{broker.path}"
        without = shell.run("pub", "session:1", "x", url=url)
        assert without.code == Exit.REFUSED and "--token-file" in without.err
        nowhere = shell.run("pub", "session:1", "x", "--token-file", str(tmp_path / "gone"), url=url)
        assert nowhere.code == Exit.USAGE and "gone" in nowhere.err
        assert without.err.count("\n") == 1, "why, and nothing of a broker that is not there"
        assert shell.run("pub", "session:1", "x", "--token-file", str(file), url=url).code == Exit.OK
        assert shell.run("pub", "session:1", "x", url=url, OUTLAST_TOKEN_FILE=str(file)).code == Exit.OK
        assert shell.run("pub", "session:1", "x", url=url, OUTLAST_TOKEN=file.read_text().strip()).code == Exit.OK
        assert shell.run("pub", "session:1", "x", "--token", file.read_text().strip(), url=url).code == Exit.OK
        wrong = {"OUTLAST_TOKEN": "x"}
        assert shell.run("pub", "session:1", "x", "--token-file", str(file), url=url, **wrong).code == Exit.OK
        refused = shell.run("pub", "other", "x", "--token-file", str(file), url=url)
        assert refused.code == Exit.REFUSED and "forbidden" in refused.err


def test_revoking(credentials: Credentials) -> None:
    operator = credentials.token("operator", OPERATOR)
    with running_broker(auth=credentials.settings()) as broker:
        broker.client("alice", token=credentials.token("alice")).hears_nothing()
        url, env = f"outlast+unix://{broker.path}", {"OUTLAST_TOKEN": operator}
        done = shell.run("token", "revoke", "--subject", "alice", url=url, **env)
        assert done.code == Exit.OK and "1 connections were cut off" in done.err
        assert shell.run("token", "revoke", "--id", "7f3a", url=url, **env).code == Exit.OK
        rows = [json.loads(line) for line in shell.run("token", "revoked", url=url, **env).lines]
        assert [row.get("subject", row.get("token_id")) for row in rows] == ["7f3a", "alice"]
        for arguments in ((), ("--subject", "a", "--id", "b")):
            assert shell.run("token", "revoke", *arguments, url=url, **env).code == Exit.USAGE
        limited = {"OUTLAST_TOKEN": credentials.token("bob", GRANTS)}
        assert "forbidden" in shell.run("token", "revoke", "--subject", "operator", url=url, **limited).err
