from __future__ import annotations

from typing import Any

import pytest

from tests.support.web import WebClient

AT = "/v1/revocations"


def test_what_is_revoked_is_listed_page_by_page(web: WebClient) -> None:
    for said in ({"subject": "bob", "issued_before_ms": 5}, {"token_id": "7f3a"}, {"subject": "alice"}):
        answer = web.ask("POST", AT, said)
        assert (answer.status, answer.said) == (201, {"cut": 0})
    first = web.get(f"{AT}?limit=2")
    assert [row.get("subject") or row["token_id"] for row in first["revocations"]] == ["7f3a", "alice"]
    assert first["more"] and set(first["revocations"][0]) == {"token_id", "until_ms"}
    [bob] = web.get(f"{AT}?after=alice")["revocations"]
    assert (bob["subject"], bob["issued_before_ms"]) == ("bob", 5) and bob["until_ms"] > 5


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({}, "one of them"),
        ({"subject": "a", "token_id": "b"}, "one of them"),
        ({"subject": ""}, "subject is text of 1 to 128 bytes"),
        ({"subject": "x" * 129}, "subject is text of 1 to 128 bytes"),
        ({"subject": "\ud800"}, "subject is text of 1 to 128 bytes"),
        ({"subject": None}, "subject is text of 1 to 128 bytes"),
        ({"token_id": 7}, "token_id is text of 1 to 255 bytes"),
        ({"token_id": "a\nb"}, "token_id is text of 1 to 255 bytes"),
        ({"subject": "a", "issued_before_ms": -1}, "issued_before_ms is a whole number"),
        ({"subject": "a", "issued_before_ms": True}, "issued_before_ms is a whole number"),
        ({"subject": "a", "issued_before_ms": 2**53}, "issued_before_ms is a whole number"),
        ({"token_id": "a", "issued_before_ms": 1}, "issued_before_ms goes with subject"),
        ({"user": "a"}, "a revocation has no 'user'; it has issued_before_ms, subject, token_id"),
        (["a"], "a revocation is an object"),
    ],
)
def test_mistakes(web: WebClient, said: Any, complaint: str) -> None:
    answer = web.ask("POST", AT, said)
    assert (answer.status, answer.code) == (400, "bad_body") and complaint in answer.said["detail"]


def test_it_takes_json(web: WebClient) -> None:
    assert web.ask("POST", AT, b"subject=a", Content_Type="text/plain").code == "bad_content_type"
    assert web.ask("DELETE", AT).headers["Allow"] == "GET, OPTIONS, POST"
