"""What is believed, and what is not; that all of the latter is answered alike, over every door, is in tests/doors."""

from __future__ import annotations

import json

import pytest
from outlast_broker.auth.jwks import read_jwks, read_key
from outlast_broker.auth.settings import AuthSettings
from outlast_broker.auth.tokens import Expired, Untrusted, read_token, sign_token

from tests.support.chance import chance
from tests.support.credentials import secret_key
from tests.support.forgeries import (
    AUDIENCE,
    EC_ROW,
    FORGERIES,
    GOOD,
    HEADER,
    ISSUER,
    NOW_S,
    PUBLIC_ROWS,
    RSA_ROW,
    forged,
    good_token,
)

KEYS = read_jwks(json.dumps({"keys": PUBLIC_ROWS}))
STRICT = AuthSettings(issuer=ISSUER, audience=AUDIENCE)
NOW_MS = NOW_S * 1000


def test_a_token_says_who_its_bearer_is() -> None:
    identity = read_token(good_token(client_id="alice:*"), KEYS, STRICT, NOW_MS)
    assert (identity.subject, str(identity.client), identity.token_id) == ("alice", "alice:*", "7f3a")
    assert (identity.issued_ms, identity.expires_ms) == (NOW_MS, NOW_MS + 3_600_000 + 30_000)
    assert identity.key == KEYS["one"].fingerprint and identity.capabilities.everywhere


@pytest.mark.parametrize("row", [RSA_ROW, EC_ROW], ids=["RS256", "ES256"])
def test_every_key_verifies_its_own(row: dict[str, str]) -> None:
    token = sign_token(GOOD, read_key(row, ""))
    assert read_token(token, KEYS, STRICT, NOW_MS).key == KEYS[row["kid"]].fingerprint


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_not_believed(token: str) -> None:
    with pytest.raises(Untrusted) as error:
        read_token(token, KEYS, STRICT, NOW_MS)
    assert not isinstance(error.value, Expired)
    assert len(token) < 10 or token not in str(error.value)


def test_one_letter_that_is_another_makes_a_token_worthless() -> None:
    token = good_token()
    with chance("tokens") as rng:
        for _ in range(2_000):
            at, letter = rng.randrange(len(token)), rng.choice("AZaz09-_.~ é\n=")
            if letter != token[at]:
                with pytest.raises(Untrusted):
                    read_token(token[:at] + letter + token[at + 1 :], KEYS, STRICT, NOW_MS)


def test_there_are_enough_of_them() -> None:
    assert len(FORGERIES) >= 80 and len(set(FORGERIES.values())) == len(FORGERIES)


def test_a_signed_token_that_was_good_has_expired() -> None:
    token = good_token()
    last_ms = NOW_MS + 3_600_000 + STRICT.skew_ms
    assert read_token(token, KEYS, STRICT, last_ms - 1).expires_ms == last_ms
    with pytest.raises(Expired):
        read_token(token, KEYS, STRICT, last_ms)
    head, body, _ = token.split(".")
    with pytest.raises(Untrusted) as error:
        read_token(f"{head}.{body}.{'A' * 43}", KEYS, STRICT, last_ms)
    assert not isinstance(error.value, Expired), "only who has a true signature learns that it has expired"


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_clocks_may_be_apart_a_little(name: str) -> None:
    token = good_token(**{name: NOW_S + 30})
    assert read_token(token, KEYS, STRICT, NOW_MS).subject == "alice"
    with pytest.raises(Untrusted, match="not come"):
        read_token(token, KEYS, STRICT, NOW_MS - 1)


def test_without_an_audience_of_ours_a_token_must_name_none() -> None:
    lenient = AuthSettings()
    assert read_token(good_token(aud=None), KEYS, lenient, NOW_MS)
    assert read_token(good_token(aud=[]), KEYS, lenient, NOW_MS)
    with pytest.raises(Untrusted, match="audience"):
        read_token(good_token(), KEYS, lenient, NOW_MS)


def test_a_token_without_capabilities_is_believed_and_may_nothing() -> None:
    identity = read_token(good_token(capabilities=None), KEYS, STRICT, NOW_MS)
    assert not identity.capabilities.everywhere and not identity.capabilities.verbs("a")


def test_the_types_of_access_tokens_are_taken() -> None:
    key = secret_key()
    for typ in ("JWT", "jwt", "at+jwt"):
        assert read_token(forged(HEADER | {"typ": typ, "x5t": "x", "cat": "y"}), {"one": key}, STRICT, NOW_MS)


def test_times_may_have_fractions() -> None:
    identity = read_token(good_token(iat=NOW_S - 0.5, exp=NOW_S + 0.25), KEYS, STRICT, NOW_MS)
    assert (identity.issued_ms, identity.expires_ms) == (NOW_MS - 500, NOW_MS + 250 + STRICT.skew_ms)
