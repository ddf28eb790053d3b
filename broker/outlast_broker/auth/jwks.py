"""The keys that tokens are signed with: a JWK Set (RFC 7517) whose keys have a `kid` and one `alg` each. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

# The kind of key, and its curve, that an algorithm works with: a public key is never taken for a secret.
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    "HS256": ("oct", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    "RS256": ("RSA", None),
}
# Which part of a key says how long it is, and the least that it has.
BITS_MIN: dict[str, tuple[str, int]] = {"HS256": ("k", 256), "RS256": ("n", 2_048)}
# What only the issuer should have.
_PRIVATE = "d"


class TokenKey(NamedTuple):
    """`fingerprint` tells it from every other key, also from another one under its `kid`."""

    kid: str
    alg: str
    key: Any
    fingerprint: str

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's, of `signed`."""
        try:
            return bool(JWSRegistry.algorithms[self.alg].verify(signed, signature, self.key))
        except (JoseError, ValueError):
            return False

    def sign(self, signed: bytes) -> bytes:
        """Raises ValueError for a key that is public."""
        try:
            return JWSRegistry.algorithms[self.alg].sign(signed, self.key)
        except JoseError as error:
            raise ValueError(f"key {self.kid!r} cannot sign: {error}") from None


def read_jwks(text: str) -> dict[str, TokenKey]:
    """By `kid`, keys that verify. Raises ValueError that says which one is wrong, and shows nothing of it."""
    keys: dict[str, TokenKey] = {}
    for number, row in enumerate(_rows(text), 1):
        key = read_key(row, f"key {number}")
        if _PRIVATE in row:
            raise ValueError(f"key {key.kid!r} is private: a broker needs the public part alone")
        if key.kid in keys:
            raise ValueError(f"there are two keys {key.kid!r}")
        keys[key.kid] = key
    return keys


def _rows(text: str) -> list[Mapping[str, Any]]:
    try:
        said = json.loads(text)
    except ValueError:
        raise ValueError("it is no JSON") from None
    rows = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError('it is no JWK Set: {"keys": [...]}')
    return rows


def read_key(row: Mapping[str, Any], name: str) -> TokenKey:
    """One JWK, public or not. Raises ValueError."""
    kid, alg = row.get("kid"), row.get("alg")
    if not isinstance(kid, str) or not kid:
        raise ValueError(f"{name} has no kid")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise ValueError(f"key {kid!r}: alg is one of {', '.join(ALGORITHMS)}, and each key says its own")
    kind, curve = ALGORITHMS[alg]
    if row.get("kty") != kind or row.get("crv") != curve:
        raise ValueError(f"key {kid!r}: {alg} takes kty {kind}" + (f" with crv {curve}" if curve else ""))
    if row.get("use", "sig") != "sig":
        raise ValueError(f"key {kid!r}: it is not for signatures")
    fingerprint = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    return TokenKey(kid, alg, _imported(kid, alg, row), fingerprint)


def _imported(kid: str, alg: str, row: Mapping[str, Any]) -> Any:
    part, least = BITS_MIN.get(alg, ("kid", 0))
    bits = 6 * len(str(row.get(part, ""))) // 8 * 8
    if bits < least:
        raise ValueError(f"key {kid!r} has {bits} bits: {alg} takes {least} at least")
    try:
        return import_key({name: value for name, value in row.items() if name not in ("alg", "use", "key_ops")})
    except (JoseError, ValueError, TypeError, KeyError):
        raise ValueError(f"key {kid!r} cannot be read: it is no {ALGORITHMS[alg][0]} key") from None
