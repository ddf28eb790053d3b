from __future__ import annotations

from outlast_broker.auth.capabilities import NOTHING
from outlast_broker.auth.identity import ClientRule, Identity
from outlast_broker.auth.revocations import Revocation, Revocations


def bearer(subject: str = "alice", issued_ms: int = 0, token_id: str = "") -> Identity:
    return Identity(subject, ClientRule(subject), NOTHING, issued_ms, 0, token_id)


def test_of_a_subject_what_was_issued_before() -> None:
    revocations = Revocations({})
    revocations.add(Revocation("alice", "", 1_000, 5_000))
    assert revocations.covers(bearer(issued_ms=999)) and revocations.covers(bearer())
    assert not revocations.covers(bearer(issued_ms=1_000))
    assert not revocations.covers(bearer("bob")) and not revocations.covers(bearer("alice2"))


def test_one_token_by_its_id() -> None:
    revocations = Revocations({})
    revocations.add(Revocation("", "7f3a", 0, 5_000))
    assert revocations.covers(bearer(token_id="7f3a")) and revocations.covers(bearer("bob", 9_999, "7f3a"))
    assert not revocations.covers(bearer()) and not revocations.covers(bearer("7f3a", 9_999))


def test_the_latest_time_of_a_subject_counts() -> None:
    revocations = Revocations({})
    revocations.add(Revocation("alice", "", 2_000, 6_000))
    assert revocations.add(Revocation("alice", "", 1_000, 5_000)) == Revocation("alice", "", 2_000, 6_000)
    assert revocations.covers(bearer(issued_ms=1_500))


def test_rows_are_what_is_read_back() -> None:
    rows = [Revocation("älice", "", 2_000, 6_000), Revocation("", "älice", 0, 5_000)]
    again = Revocations({each.row_key: each.pack() for each in rows})
    assert again.listed("", 10) == rows
    assert len({each.row_key for each in rows}) == 2


def test_what_is_about_nobody_any_more_is_forgotten() -> None:
    revocations = Revocations({})
    kept = Revocation("key", "", 2_000, 5_000)
    for each in (Revocation("alice", "", 2_000, 5_000), kept, Revocation("", "7f3a", 0, 5_001)):
        revocations.add(each)
    assert revocations.prune(4_999, lambda each: each == kept) == []
    assert revocations.prune(5_000, lambda each: each == kept) == [Revocation("alice", "", 0, 0).row_key]
    assert [each.name for each in revocations.listed("", 10)] == ["7f3a", "key"]
    assert [each.name for each in revocations.listed("7f3a", 10)] == ["key"]
    assert [each.name for each in revocations.listed("", 1)] == ["7f3a"]
