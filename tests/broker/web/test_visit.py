from __future__ import annotations

import pytest
from outlast_broker.web import visit
from outlast_broker.web.problem import Problem
from outlast_broker.web.visit import BODY_BYTES_MAX, place_of

from tests.support.web import WebClient


def test_a_place_is_an_offset_or_a_position() -> None:
    assert place_of("after", "7") == (7, None)
    assert place_of("after", "00c0ffee00c0ffee:7") == (7, 0xC0FFEE00C0FFEE)
    for text in ("", "-1", "x", "7:7", str(2**63), "１"):
        with pytest.raises(Problem, match="after"):
            place_of("after", text)


def test_a_misspelt_parameter_is_refused(web: WebClient) -> None:
    answer = web.ask("GET", "/v1/channels?perfix=a")
    assert answer.status == 400 and "prefix, after, limit" in answer.said["detail"]


@pytest.mark.parametrize("query", ["prefix=%ff", "prefix=a&prefix=b", "&".join(["prefix=a"] * 101)])
def test_a_query_that_says_nothing_is_refused(web: WebClient, query: str) -> None:
    assert web.ask("GET", f"/v1/channels?{query}").code == "bad_body"


def test_percent_and_plus_mean_what_they_mean_in_a_query(web: WebClient, room: str) -> None:
    web.publish(f"{room}%20%C3%BC", 1)
    page = web.get(f"/v1/channels?prefix={room}+%C3%BC")
    assert [row["channel"] for row in page["channels"]] == [f"{room} ü"]


def test_a_body_that_is_too_large_is_refused(web: WebClient, path: str) -> None:
    """By what it says of itself, and else by what comes."""
    answer = web.ask("POST", f"{path}/records", b"x" * (BODY_BYTES_MAX + 1), Content_Type="text/plain")
    assert (answer.status, answer.code, answer.headers["Connection"]) == (413, "frame_too_large", "close")


def test_a_body_of_the_longest_batch_is_taken(web: WebClient, path: str) -> None:
    size = BODY_BYTES_MAX - 200
    answer = web.ask("POST", f"{path}/records", b"x" * size, Content_Type="application/octet-stream")
    assert answer.status == 201
    assert len(web.get(f"{path}/records")["records"][0]["data"]) > size
    large = web.ask("POST", f"{path}/records", b"x" * BODY_BYTES_MAX, Content_Type="application/octet-stream")
    assert large.status == 400 and large.code == "bad_batch"


def test_a_body_that_is_packed_is_refused(web: WebClient, path: str) -> None:
    answer = web.ask("POST", f"{path}/records", b"x", Content_Type="text/plain", Content_Encoding="gzip")
    assert (answer.status, answer.code) == (415, "bad_encoding")


def test_a_body_that_does_not_come_is_not_waited_for(
    web: WebClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "BODY_TIMEOUT_MS", 20)
    answer = web.ask("POST", f"{path}/records", None, Content_Length="5", Content_Type="text/plain")
    assert (answer.status, answer.code) == (408, "too_slow")
    assert web.ask("GET", "/livez").status == 200, "over a new connection"
