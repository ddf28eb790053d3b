"""Tokens that nobody should believe, by what is wrong with them."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from joserfc.jwk import ECKey, RSAKey
from outlast_broker.auth.jwks import TokenKey, read_key
from outlast_broker.auth.tokens import sign_token

from tests.support.credentials import OPERATOR, SECRET, claims_of, secret_key

ISSUER, AUDIENCE = "https://issuer.example", "outlast"
RSA_ROW: dict[str, Any] = RSAKey.generate_key(2048).as_dict(private=True) | {"kid": "rsa", "alg": "RS256"}
EC_ROW: dict[str, Any] = ECKey.generate_key("P-256").as_dict(private=True) | {"kid": "ec", "alg": "ES256"}
PRIVATE = ("d", "p", "q", "dp", "dq", "qi")
# What a broker is given: one secret, and two public keys.
PUBLIC_ROWS = [
    {"kty": "oct", "kid": "one", "alg": "HS256", "k": SECRET},
    *({name: value for name, value in row.items() if name not in PRIVATE} for row in (RSA_ROW, EC_ROW)),
]
GOOD = claims_of("alice", OPERATOR, iss=ISSUER, aud=[AUDIENCE, "others"], jti="7f3a")
NOW_S = GOOD["iat"]


def packed(said: object) -> str:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: Any, claims: Any = GOOD, secret: bytes = b"") -> str:
    """With a signature of HMAC under `secret`, whatever the header says; under none: the broker's own secret."""
    signed = f"{packed(header)}.{packed(claims)}"
    own = secret_key().key.raw_value
    return f"{signed}.{packed(hmac.digest(secret or own, signed.encode(), hashlib.sha256))}"


HEADER = {"alg": "HS256", "typ": "JWT", "kid": "one"}


def good_token(**claims: Any) -> str:
    said = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return sign_token(said, secret_key())


def forgeries() -> Iterator[tuple[str, str]]:
    yield from _bytes()
    yield from _headers()
    yield from _signatures()
    yield from _claims()


def _bytes() -> Iterator[tuple[str, str]]:
    token = good_token()
    head, body, signature = token.split(".")
    yield "nothing", ""
    yield "a word", "secret"
    yield "a word like a static key", "outlast_alice_secret"
    yield "dots", ".."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{token}.x"
    yield "an encrypted token's five parts", f"{token}.x.y"
    yield "padding", f"{head}.{body}.{signature}="
    yield "a space", f" {token}"
    yield "a line break", f"{token}\n"
    yield "letters of plain base64", f"{head}.{body}.{'+/' * 21}A"
    yield "stray bits", f"{head}.{body}.{signature[:-1]}{_next(signature[-1])}"
    yield "no ASCII", f"{head}.{body}.ü"
    yield "a lone surrogate", f"{head}.{body}.\ud800"
    yield "too long", good_token(padding="x" * 8_192)
    yield "a header that is no JSON", forged(b"{alg")
    yield "a header that is no object", forged(["HS256"])
    yield "claims that are no object", forged(HEADER, [])
    yield "claims that are no UTF-8", forged(HEADER, b'{"sub":"\xff"}')
    yield "claims that are deep", forged(HEADER, b"[" * 5_000)
    yield "claims twice", forged(HEADER, json.dumps(GOOD)[:-1].encode() + b', "sub": "bob"}')
    yield "a header twice", forged(b'{"alg": "none", "alg": "HS256", "kid": "one"}')
    yield "claims twice within", forged(HEADER, json.dumps(GOOD)[:-1].encode() + b', "x": {"a": 1, "a": 2}}')


def _next(letter: str) -> str:
    """The letter whose last bit alone is another."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(letter) ^ 1]


def _headers() -> Iterator[tuple[str, str]]:
    for alg in ("none", "None", "NONE", "", None, "HS512", "HS256 ", "hs256", ["HS256"], 256):
        yield f"alg {alg!r}", forged(HEADER | {"alg": alg})
    yield "alg none, no signature", f"{packed({'alg': 'none', 'kid': 'one'})}.{packed(GOOD)}."
    yield "no alg", forged({"kid": "one"})
    for kid in (None, "", "two", "One", 1, ["one"], "../../dev/null", "one' OR 1"):
        yield f"kid {kid!r}", forged(HEADER | {"kid": kid})
    yield "no kid", forged({"alg": "HS256"})
    for name in ("jku", "x5u", "jwk", "x5c", "crit", "b64", "zip"):
        yield f"a header {name}", forged(HEADER | {name: ["https://evil.example/keys"]})
    yield "another type", forged(HEADER | {"typ": "secevent+jwt"})


def _signatures() -> Iterator[tuple[str, str]]:
    token = good_token()
    head, body, signature = token.split(".")
    yield "no signature", f"{head}.{body}."
    yield "half a signature", f"{head}.{body}.{signature[:20]}"
    yield "another body", f"{head}.{packed(GOOD | {'sub': 'bob'})}.{signature}"
    yield "another header", f"{packed(HEADER | {'x': 1})}.{body}.{signature}"
    yield "another secret", sign_token(GOOD, secret_key("one", "Q" * 42 + "A"))
    public = json.dumps(PUBLIC_ROWS[1]).encode()
    yield "HS256 with a public key as its secret", forged({"alg": "HS256", "kid": "rsa"}, GOOD, public)
    yield (
        "HS256 with a public number as its secret",
        forged({"alg": "HS256", "kid": "rsa"}, GOOD, PUBLIC_ROWS[1]["n"].encode()),
    )
    yield "RS256 under the secret's name", _signed_by(RSA_ROW, "one")
    yield "ES256 under the name of RS256", _signed_by(EC_ROW, "rsa")
    yield "RS256 that says HS256", _signed_by(RSA_ROW, "rsa", "HS256")
    yield (
        "another key under its kid",
        _signed_by(ECKey.generate_key("P-256").as_dict(private=True) | {"alg": "ES256"}, "ec"),
    )
    for size in (64, 63, 0):
        zero = packed(b"\0" * size) if size else ""
        yield f"ES256 with {size} zeros", f"{packed({'alg': 'ES256', 'kid': 'ec'})}.{body}.{zero}"


def _signed_by(row: Mapping[str, Any], kid: str, alg: str = "") -> str:
    key = read_key({**row, "kid": kid}, kid)
    return sign_token(GOOD, TokenKey(kid, key.alg, key.key, "")) if not alg else _renamed(key, alg)


def _renamed(key: TokenKey, alg: str) -> str:
    signed = f"{packed({'alg': alg, 'kid': key.kid})}.{packed(GOOD)}"
    return f"{signed}.{packed(key.sign(signed.encode()))}"


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "no exp": {"exp": None},
    "exp as text": {"exp": str(NOW_S + 60)},
    "exp true": {"exp": True},
    "exp negative": {"exp": -1},
    "exp beyond all bounds": {"exp": 2**63},
    "exp in too many days": {"exp": NOW_S + 31 * 86_400},
    "no iat": {"iat": None},
    "iat to come": {"iat": NOW_S + 86_400},
    "nbf to come": {"nbf": NOW_S + 86_400},
    "nbf as text": {"nbf": "now"},
    "no iss": {"iss": None},
    "another iss": {"iss": ISSUER + "/"},
    "iss in a list": {"iss": [ISSUER]},
    "no aud": {"aud": None},
    "another aud": {"aud": "outlast2"},
    "aud of others": {"aud": ["a", "b"]},
    "aud as an object": {"aud": {AUDIENCE: 1}},
    "no sub": {"sub": None},
    "sub empty": {"sub": ""},
    "sub a number": {"sub": 7},
    "sub with a line break": {"sub": "alice\n"},
    "sub too long": {"sub": "x" * 129},
    "sub half a character": {"sub": "\ud800"},
    "jti empty": {"jti": ""},
    "jti a number": {"jti": 7},
    "a client_id that is none": {"client_id": "a*"},
    "a client_id that is a list": {"client_id": ["a"]},
    "capabilities as a list": {"capabilities": ["*"]},
    "a pattern that is none": {"capabilities": {"a*": ["publish"]}},
    "a verb that is none": {"capabilities": {"a": ["shout"]}},
    "verbs as text": {"capabilities": {"a": "publish"}},
}


def _claims() -> Iterator[tuple[str, str]]:
    for name, wrong in WRONG_CLAIMS.items():
        yield name, good_token(**wrong)
    yield "exp infinite", forged(HEADER, json.dumps(GOOD | {"exp": float("inf")}).encode())
    yield "exp no number", forged(HEADER, json.dumps(GOOD | {"exp": float("nan")}).encode())


FORGERIES = dict(forgeries())
