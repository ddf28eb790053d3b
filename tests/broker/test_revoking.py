"""REVOKE and REVOCATIONS as frames (PROTOCOL.md 6.15); what they bring about is in auth/test_authority.py."""

from __future__ import annotations

import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Revocations, Revoke

from tests.broker.stage import Stage, Time


def test_a_revocation_is_answered_when_it_is_on_disk(stage: Stage, time: Time) -> None:
    operator = stage.client()
    stage.log.hold()
    operator.send(Revoke(operator.request(), subject="alice"))
    stage.hold_in_commit()
    assert operator.silent
    stage.log.go_on()
    stage.idle()
    assert operator.came[0].result == {"cut": 0}  # type: ignore[union-attr]


def test_what_is_revoked_is_listed_in_pages(stage: Stage, time: Time) -> None:
    operator = stage.client()
    for subject in ("bob", "alice"):
        operator.result(Revoke(operator.request(), subject=subject, issued_before_ms=time.ms - 5))
    operator.result(Revoke(operator.request(), token_id="7f3a"))
    day_ms = 86_400_000
    until_ms = time.ms + 30 * day_ms + 60_000
    first = operator.result(Revocations(operator.request(), limit=2))
    assert first == {
        "revocations": [
            {"token_id": "7f3a", "until_ms": until_ms},
            {"subject": "alice", "issued_before_ms": time.ms - 5, "until_ms": until_ms},
        ],
        "more": True,
    }
    rest = operator.result(Revocations(operator.request(), after="alice"))
    assert [row["subject"] for row in rest["revocations"]] == ["bob"] and not rest["more"]


def test_a_subject_and_a_token_of_one_name_are_of_one_page(stage: Stage) -> None:
    """The next page begins behind the name, and would be without the other."""
    operator = stage.client()
    for subject, token_id in (("a", None), ("b", None), (None, "b"), ("c", None)):
        operator.result(Revoke(operator.request(), subject, token_id))
    page = operator.result(Revocations(operator.request(), limit=2))
    assert [list(row.items())[0] for row in page["revocations"]] == [
        ("subject", "a"),
        ("subject", "b"),
        ("token_id", "b"),
    ]
    assert page["more"] is True
    last = operator.result(Revocations(operator.request(), after="b", limit=1))
    assert [row["subject"] for row in last["revocations"]] == ["c"] and last["more"] is False


@pytest.mark.parametrize(
    "frame",
    [
        Revoke(1), Revoke(1, "alice", "7f3a"), Revoke(1, ""), Revoke(1, "x" * 129), Revoke(1, None, "a\nb"),
        Revocations(1, None, 0), Revocations(1, None, 1_001),
    ],
)  # fmt: skip
def test_mistakes(stage: Stage, frame: Revoke | Revocations) -> None:
    operator = stage.client()
    operator.refused(frame._replace(request=operator.request()), ErrorCode.BAD_BODY)
