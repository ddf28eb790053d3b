from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from outlast_broker.auth.jwks import ALGORITHMS, read_jwks, read_key

Row = dict[str, Any]
MAKERS: dict[str, Callable[[], Any]] = {
    "HS256": lambda: OctKey.generate_key(256),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "RS256": lambda: RSAKey.generate_key(2048),
}


def private(alg: str) -> Row:
    made: Row = MAKERS[alg]().as_dict(private=True)
    return made | {"kid": f"a {alg} key", "alg": alg}


def public(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_a_private_key_signs_its_public_part_verifies(alg: str) -> None:
    row = private(alg)
    [key] = read_jwks(json.dumps({"keys": [public(row)]})).values()
    signature = read_key(row, "").sign(b"signed")
    assert (key.kid, key.alg) == (f"a {alg} key", alg)
    assert key.verifies(b"signed", signature)
    for other in (b"", b"\0" * len(signature), signature[:-1], signature + b"\0", signature[::-1]):
        assert not key.verifies(b"signed", other)
    assert not key.verifies(b"Signed", signature)


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_a_public_key_does_not_sign(alg: str) -> None:
    with pytest.raises(ValueError, match="cannot sign"):
        read_key(public(private(alg)), "").sign(b"x")


def test_a_fingerprint_tells_keys_apart() -> None:
    one, other = private("HS256"), private("HS256")
    assert read_key(one, "").fingerprint == read_key(dict(one), "").fingerprint
    assert read_key(one, "").fingerprint != read_key(other, "").fingerprint


SECRET = {"kty": "oct", "kid": "one", "alg": "HS256", "k": "A" * 43}


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ([SECRET | {"kid": ""}], "no kid"),
        ([{"kty": "oct", "alg": "HS256", "k": "A" * 43}], "no kid"),
        ([SECRET | {"alg": "none"}], "alg is one of"),
        ([{"kty": "oct", "kid": "one", "k": "A" * 43}], "alg is one of"),
        ([SECRET | {"alg": "HS512"}], "alg is one of"),
        ([SECRET | {"alg": "RS256"}], "RS256 takes kty RSA"),
        ([SECRET | {"alg": "ES256"}], "ES256 takes kty EC with crv P-256"),
        ([SECRET | {"k": "A" * 42}], "has 248 bits: HS256 takes 256"),
        ([SECRET | {"use": "enc"}], "not for signatures"),
        ([SECRET, SECRET], "two keys 'one'"),
        ([{"kty": "OKP", "crv": "Ed25519", "kid": "one", "alg": "EdDSA", "x": "AAAA"}], "cannot be read"),
        ([{"kty": "OKP", "crv": "X25519", "kid": "one", "alg": "EdDSA", "x": "A" * 43}], "crv Ed25519"),
        ([{"kty": "RSA", "kid": "one", "alg": "RS256", "n": "A" * 171, "e": "AQAB"}], "RS256 takes 2048"),
        ([private("EdDSA")], "is private"),
        ([private("RS256")], "is private"),
        ("x", "no JWK Set"),
        ([7], "no JWK Set"),
    ],
)
def test_mistakes_are_named_and_nothing_secret_is(keys: Any, complaint: str) -> None:
    with pytest.raises(ValueError) as error:
        read_jwks(json.dumps({"keys": keys}))
    assert complaint in str(error.value)
    assert "A" * 20 not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": []}'])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError, match="it is no J"):
        read_jwks(text)
