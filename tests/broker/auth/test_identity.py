from __future__ import annotations

import pytest
from outlast_broker.auth.identity import EVERYBODY, NOBODY, ClientRule, read_client_rule
from outlast_protocol import ErrorCode, ProtocolError


def test_an_exact_rule_gives_that_id_and_no_other() -> None:
    rule = read_client_rule("alice")
    assert (rule.choose(None), rule.choose("alice"), str(rule)) == ("alice", "alice", "alice")
    for other in ("bob", "alice:phone", "Alice", ""):
        with pytest.raises(ProtocolError) as refusal:
            rule.choose(other)
        assert refusal.value.code is ErrorCode.FORBIDDEN


def test_a_rule_for_several_devices() -> None:
    rule = read_client_rule("alice:*")
    assert rule.choose("alice:phone") == "alice:phone"
    chosen = {rule.choose(None) for _ in range(3)}
    assert len(chosen) == 3 and all(each.startswith("alice:") for each in chosen)
    for other in ("alice", "alice:", "alice2:phone", "bob:phone"):
        with pytest.raises(ProtocolError):
            rule.choose(other)
    assert str(rule) == "alice:*"
    assert (rule.named("http"), read_client_rule("bob").named("http")) == ("alice:http", "bob")


@pytest.mark.parametrize(
    "said", ["", "a*", "a:*:b", "**", "a\n", 7, None, ["a"], "x" * 129, "x" * 126 + ":*", "\ud800"]
)
def test_what_is_no_rule(said: object) -> None:
    with pytest.raises(ValueError):
        read_client_rule(said)


def test_a_star_in_a_subject_is_no_rule() -> None:
    """ClientRule is made of a subject as it is; only a claim can say that more is allowed."""
    with pytest.raises(ProtocolError):
        ClientRule("*").choose("alice")


def test_everybody_and_nobody() -> None:
    assert EVERYBODY.client.choose("whoever") == "whoever"
    assert EVERYBODY.capabilities.everywhere and not NOBODY.capabilities.everywhere
    assert EVERYBODY.client.choose(None) != EVERYBODY.client.choose(None)
