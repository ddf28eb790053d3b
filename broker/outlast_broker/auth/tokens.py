"""JSON Web Tokens (RFC 7519, RFC 8725): whether one is to be believed, and whose it is. Pure.

Whatever is wrong with a token, its bearer is told the same; `Untrusted` says why to the broker's log alone.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

from outlast_protocol.limits import CLIENT_ID_BYTES_MAX

from ..names import is_name
from .capabilities import read_capabilities
from .identity import ClientRule, Identity, read_client_rule
from .jwks import TokenKey
from .revocations import TOKEN_ID_BYTES_MAX
from .settings import AuthSettings

TOKEN_BYTES_MAX = 8_192
TYPES = ("jwt", "at+jwt")
# What would have a key fetched from somewhere, or the token read in another way.
REFUSED_HEADERS = frozenset({"b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"})
_PART = re.compile(r"[A-Za-z0-9_-]+")


class Untrusted(Exception):
    """Why a token is not believed, for the log: never holds the token, nor what it claims if it was not signed well."""


class Expired(Untrusted):
    """It was to be believed, and is not any more."""


def read_token(token: str, keys: Mapping[str, TokenKey], settings: AuthSettings, now_ms: int) -> Identity:
    """Whose token it is. Raises Untrusted."""
    if len(token) > TOKEN_BYTES_MAX:
        raise Untrusted("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise Untrusted("it has not three parts")
    header, payload, signature = map(_decoded, parts)
    key = _key_of(_object(header), keys)
    if not key.verifies(f"{parts[0]}.{parts[1]}".encode(), signature):
        raise Untrusted("its signature is wrong")
    claims = _object(payload)
    _check_addressee(claims, settings)
    issued_ms, expires_ms = _check_times(claims, settings, now_ms)
    return _identity(claims, issued_ms, expires_ms, key)


def _decoded(part: str) -> bytes:
    """Base64 in the one form that it has: no padding, no stray bits."""
    try:
        data = urlsafe_b64decode(part + "=" * (-len(part) % 4)) if _PART.fullmatch(part) else b""
    except binascii.Error:
        data = b""
    if not data or encoded(data) != part:
        raise Untrusted("a part of it is not base64url")
    return data


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Untrusted("a part of it is no JSON, or says a thing twice") from None
    if not isinstance(said, dict):
        raise Untrusted("a part of it is no object")
    return said


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("twice")
    return said


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _key_of(header: Mapping[str, Any], keys: Mapping[str, TokenKey]) -> TokenKey:
    """The key decides the algorithm, not the token."""
    if refused := REFUSED_HEADERS & header.keys():
        raise Untrusted(f"its header has {', '.join(sorted(refused))}")
    if str(header.get("typ", TYPES[0])).lower() not in TYPES:
        raise Untrusted("it is of another type")
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise Untrusted("its kid is not ours")
    if header.get("alg") != key.alg:
        raise Untrusted(f"its alg is not that of key {key.kid!r}")
    return key


def _check_addressee(claims: Mapping[str, Any], settings: AuthSettings) -> None:
    if settings.issuer and claims.get("iss") != settings.issuer:
        raise Untrusted("it is of another issuer")
    said = claims.get("aud")
    audience = said if isinstance(said, list) else [] if said is None else [said]
    # One that names others is not for us, also where nobody has said who we are (RFC 7519, 4.1.3).
    if (settings.audience or audience) and settings.audience not in audience:
        raise Untrusted("it is for another audience")


def _check_times(claims: Mapping[str, Any], settings: AuthSettings, now_ms: int) -> tuple[int, int]:
    """When it was issued, and when it is not believed any more."""
    issued_ms, exp_ms = _time_ms(claims, "iat"), _time_ms(claims, "exp")
    begins_ms = _time_ms(claims, "nbf") if "nbf" in claims else issued_ms
    expires_ms = exp_ms + settings.skew_ms
    if max(issued_ms, begins_ms) > now_ms + settings.skew_ms:
        raise Untrusted("its time has not come")
    if exp_ms - issued_ms > settings.lifetime_ms:
        raise Untrusted("it is good for longer than tokens may be here")
    if now_ms >= expires_ms:
        raise Expired("it has expired")
    return issued_ms, expires_ms


def _time_ms(claims: Mapping[str, Any], name: str) -> int:
    said = claims.get(name)
    if not isinstance(said, int | float) or isinstance(said, bool) or not 0 <= said < 2**40:
        raise Untrusted(f"its {name} is missing or no time")
    return int(said * 1000)


def _identity(claims: Mapping[str, Any], issued_ms: int, expires_ms: int, key: TokenKey) -> Identity:
    subject = _name(claims, "sub", CLIENT_ID_BYTES_MAX)
    token_id = _name(claims, "jti", TOKEN_ID_BYTES_MAX) if "jti" in claims else ""
    try:
        # A subject may hold what it likes: a star in it is no rule.
        client = read_client_rule(claims["client_id"]) if "client_id" in claims else ClientRule(subject)
        capabilities = read_capabilities(claims.get("capabilities", {}))
    except ValueError as error:
        raise Untrusted(f"its claims are wrong: {error}") from None
    return Identity(subject, client, capabilities, issued_ms, expires_ms, token_id, key.fingerprint)


def _name(claims: Mapping[str, Any], name: str, bytes_max: int) -> str:
    said = claims.get(name)
    try:
        fits = isinstance(said, str) and is_name(said, bytes_max)
    except UnicodeEncodeError:
        fits = False
    if not isinstance(said, str) or not fits:
        raise Untrusted(f"its {name} is missing or no name")
    return said


def sign_token(claims: Mapping[str, Any], key: TokenKey) -> str:
    """A token that says `claims`. Raises ValueError for a key that cannot sign."""
    header = {"alg": key.alg, "typ": "JWT", "kid": key.kid}
    signed = f"{_packed(header)}.{_packed(claims)}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def _packed(said: Mapping[str, Any]) -> str:
    return encoded(json.dumps(said, separators=(",", ":")).encode())
