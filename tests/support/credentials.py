"""Keys and tokens for brokers that ask who comes.

credentials = Credentials(tmp_path)
with running_broker(auth=credentials.settings()) as broker:
    alice = broker.client("alice", token=credentials.token("alice", {"session:*": ["publish"]}))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outlast_broker import clock
from outlast_broker.auth.jwks import TokenKey, read_key
from outlast_broker.auth.settings import AuthSettings
from outlast_broker.auth.static_keys import hash_of, token_of
from outlast_broker.auth.tokens import sign_token

Grants = Mapping[str, Sequence[str]]
ALL = ("publish", "subscribe", "history", "presence", "state", "cursor", "lease", "claim", "manage")
OPERATOR: Grants = {"*": ALL}
SECRET = "YSBzZWNyZXQgb2YgMzIgYnl0ZXMgZm9yIHRlc3RzIG9ubHk"  # "a secret of 32 bytes for tests only"
KEY = {"kty": "oct", "kid": "one", "alg": "HS256", "k": SECRET}


def secret_key(kid: str = "one", secret: str = SECRET) -> TokenKey:
    return read_key(KEY | {"kid": kid, "k": secret}, kid)


def claims_of(subject: str, grants: Grants, **claims: Any) -> dict[str, Any]:
    """Of a token that was issued now, for an hour; None leaves a claim out."""
    now_s = clock.now_ms() // 1000
    said: dict[str, Any] = {"sub": subject, "iat": now_s, "exp": now_s + 3_600, "capabilities": grants} | claims
    return {name: value for name, value in said.items() if value is not None}


class Credentials:
    """A folder with the two files of keys."""

    def __init__(self, folder: Path, *keys: Mapping[str, Any]) -> None:
        self.jwks = folder / "jwks.json"
        self.keys = folder / "keys.toml"
        self.write(*(keys or (KEY,)))
        self.keys.write_text("")

    def write(self, *keys: Mapping[str, Any]) -> None:
        """Other keys to sign with, in place of those before."""
        self.jwks.write_text(json.dumps({"keys": keys}))

    def settings(self, **settings: Any) -> AuthSettings:
        return AuthSettings(keys=self.keys, jwks=self.jwks, **settings)

    def token(self, subject: str, grants: Grants = OPERATOR, key: TokenKey | None = None, **claims: Any) -> str:
        return sign_token(claims_of(subject, grants, **claims), key or secret_key())

    def static(self, key_id: str, grants: Grants = OPERATOR, secret: str = "s3cret", more: str = "") -> str:
        """Adds a static key to the file; returns what its bearer sends."""
        said = f'[[key]]\nid = "{key_id}"\nhash = "{hash_of(secret)}"\n{more}\n[key.capabilities]\n'
        rows = "".join(f"{json.dumps(pattern)} = {json.dumps(list(verbs))}\n" for pattern, verbs in grants.items())
        self.keys.write_text(self.keys.read_text() + said + rows)
        return token_of(key_id, secret)
