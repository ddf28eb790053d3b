"""Static keys: secrets that do not expire, of which the broker knows the hash. Pure, but for making one.

What a client sends is `outlast_ID_SECRET`. The secret is 256 random bits, so one round of SHA-256 is as good as many.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from .capabilities import Capabilities, read_capabilities
from .identity import ClientRule, Identity, read_client_rule

PREFIX = "outlast_"
HASH_PREFIX = "sha256:"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_HASH = re.compile(rf"{HASH_PREFIX}[0-9a-f]{{64}}")
_FIELDS = {"id", "hash", "client_id", "capabilities", "created", "expires"}
_NO_HASH = HASH_PREFIX + "0" * 64


class StaticKey(NamedTuple):
    """A row of the keys file; two are equal when they grant the same."""

    id: str
    hash: str
    client: ClientRule
    grants: str
    created_ms: int
    expires_ms: int

    def identity(self, capabilities: Capabilities) -> Identity:
        return Identity(self.id, self.client, capabilities, self.created_ms, self.expires_ms, "", self)


class StaticKeys:
    """All of them, by their ids."""

    def __init__(self, rows: Mapping[str, tuple[StaticKey, Capabilities]]) -> None:
        self._rows = rows

    def find(self, token: str) -> Identity | None:
        """Whose key this is. It takes the same time whether there is such an id or not."""
        key_id, _, secret = token.removeprefix(PREFIX).partition("_")
        row = self._rows.get(key_id)
        known = row[0].hash if row is not None else _NO_HASH
        fits = hmac.compare_digest(hash_of(secret), known)
        return row[0].identity(row[1]) if row is not None and fits else None

    def all(self) -> list[Identity]:
        """Whom they are for, in the order of the file."""
        return [key.identity(capabilities) for key, capabilities in self._rows.values()]

    def issued(self, subject: str) -> int | None:
        """When the key of this subject was made, None when there is none."""
        row = self._rows.get(subject)
        return None if row is None else row[0].created_ms


def hash_of(secret: str) -> str:
    return HASH_PREFIX + hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def make_secret() -> str:
    return secrets.token_urlsafe(32)


def token_of(key_id: str, secret: str) -> str:
    return f"{PREFIX}{key_id}_{secret}"


def check_key_id(key_id: object) -> str:
    """Raises ValueError that says what is allowed."""
    if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
        raise ValueError(f"{str(key_id)[:40]!r} is no id of a key: it is 1 to 64 of a-z, 0-9 and -")
    return key_id


def read_static_keys(text: str) -> StaticKeys:
    """The keys of a file in TOML: `[[key]]` with id, hash, capabilities; client_id, created, expires if they are given.

    Raises ValueError that says which one is wrong, and never shows a hash.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from None
    if said.keys() - {"key"} or not isinstance(said.get("key", []), list):
        raise ValueError("it holds [[key]] tables, and nothing else")
    rows: dict[str, tuple[StaticKey, Capabilities]] = {}
    for row in said.get("key", []):
        key, capabilities = _read(row)
        if key.id in rows:
            raise ValueError(f"there are two keys {key.id!r}")
        rows[key.id] = key, capabilities
    return StaticKeys(rows)


def _read(row: Mapping[str, Any]) -> tuple[StaticKey, Capabilities]:
    key_id = check_key_id(row.get("id"))
    try:
        if unknown := row.keys() - _FIELDS:
            raise ValueError(f"it has no {', '.join(sorted(unknown))}: it has {', '.join(sorted(_FIELDS))}")
        if not isinstance(row.get("hash"), str) or not _HASH.fullmatch(row["hash"]):
            raise ValueError("hash is sha256: and 64 hexadecimal digits, as `outlast key add` writes it")
        capabilities = read_capabilities(row.get("capabilities"))
        client = read_client_rule(row.get("client_id", key_id))
        created_ms, expires_ms = _time_ms(row, "created"), _time_ms(row, "expires")
    except ValueError as error:
        raise ValueError(f"key {key_id!r}: {error}") from None
    grants = repr(sorted((pattern, sorted(verbs)) for pattern, verbs in row["capabilities"].items()))
    return StaticKey(key_id, row["hash"], client, grants, created_ms, expires_ms), capabilities


def _time_ms(row: Mapping[str, Any], name: str) -> int:
    said = row.get(name)
    if said is None:
        return 0
    if not isinstance(said, datetime) or said.tzinfo is None:
        raise ValueError(f"{name} is a time with its zone, as 2027-01-31T12:00:00Z")
    return round(said.timestamp() * 1000)
