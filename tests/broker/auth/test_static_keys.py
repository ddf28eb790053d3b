from __future__ import annotations

import pytest
from outlast_broker.auth.static_keys import hash_of, make_secret, read_static_keys, token_of

SECRET = "nBpMrBdjL6J61-5qs8eHFzoBA0yOEzEXcZjCNwGMOJc"
ROW = f"""
[[key]]
id = "agent-7"
hash = "{hash_of(SECRET)}"
created = 2026-01-01T00:00:00Z
capabilities = {{ "session:*" = ["publish", "lease"] }}
"""


def test_a_key_is_found_by_what_its_bearer_sends() -> None:
    keys = read_static_keys(ROW)
    identity = keys.find(token_of("agent-7", SECRET))
    assert identity is not None
    assert (identity.subject, identity.client.choose(None)) == ("agent-7", "agent-7")
    assert (identity.issued_ms, identity.expires_ms) == (1_767_225_600_000, 0)
    assert identity.capabilities.verbs("session:1") and not identity.capabilities.verbs("other")
    assert keys.all() == [identity] and keys.issued("agent-7") == identity.issued_ms
    assert keys.issued("agent-8") is None


@pytest.mark.parametrize(
    "token",
    [
        token_of("agent-7", SECRET[:-1]), token_of("agent-7", SECRET + "x"), token_of("agent-7", ""),
        token_of("agent-8", SECRET), token_of("", SECRET), "outlast_", "outlast_agent-7", SECRET,
        token_of("agent-7", hash_of(SECRET)), token_of("agent-7", SECRET.swapcase()), token_of("agent-7", "\ud800"),
    ],
)  # fmt: skip
def test_what_opens_nothing(token: str) -> None:
    assert read_static_keys(ROW).find(token) is None


def test_a_key_that_grants_something_else_is_another_one() -> None:
    before = read_static_keys(ROW).find(token_of("agent-7", SECRET))
    assert before is not None
    assert [each.key for each in read_static_keys(ROW).all()] == [before.key]
    for other in (ROW.replace("lease", "claim"), ROW.replace("session:", "s:"), ROW.replace("2026", "2027"), ""):
        assert before.key not in [each.key for each in read_static_keys(other).all()]


def test_a_key_may_end_and_be_for_several_clients() -> None:
    keys = read_static_keys(ROW + '\nexpires = 2027-01-01T01:00:00+01:00\nclient_id = "agent:*"\n')
    identity = keys.find(token_of("agent-7", SECRET))
    assert identity is not None
    assert (identity.expires_ms, str(identity.client)) == (1_798_761_600_000, "agent:*")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[key]", "no TOML"),
        ("keys = 1", "[[key]] tables"),
        ('key = "x"', "[[key]] tables"),
        ("[[key]]", "no id"),
        (ROW.replace("agent-7", "Agent_7"), "no id"),
        (ROW.replace("sha256:", "md5:"), "64 hexadecimal"),
        (ROW.replace("publish", "shout"), "'shout' is no verb"),
        (ROW.replace("session:*", "s*"), "no pattern"),
        (ROW.replace("capabilities", "rights"), "it has no rights"),
        (ROW + ROW, "two keys 'agent-7'"),
        (ROW.replace("2026-01-01T00:00:00Z", "2026-01-01"), "with its zone"),
        (ROW + 'client_id = "a*"', "no client id"),
        (ROW + "client_id = 7", "is text"),
    ],
)
def test_mistakes_are_named_and_nothing_secret_is(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as error:
        read_static_keys(text)
    assert complaint in str(error.value)
    assert hash_of(SECRET).removeprefix("sha256:") not in str(error.value)


def test_secrets_are_long_and_never_the_same() -> None:
    assert len({make_secret() for _ in range(100)}) == 100 and len(make_secret()) >= 43
