from __future__ import annotations

import json
from http import HTTPStatus

from outlast_broker.web.problem import STATUS, Problem, bad_request, of_error
from outlast_protocol import ErrorCode, ProtocolError


def test_a_refusal_keeps_its_code_and_its_details() -> None:
    problem = of_error(ProtocolError(ErrorCode.OFFSET_MISMATCH, "no", last=7))
    assert problem.status == 412
    said = json.loads(problem.encoded())
    assert said["type"] == "urn:outlast:error:offset_mismatch" and said["code"] == "offset_mismatch"
    assert said["title"] == "Precondition Failed" and said["status"] == 412 and said["detail"] == "no"
    assert said["last"] == 7 and said["retryable"] is False


def test_one_that_may_be_tried_again_says_when() -> None:
    problem = of_error(ProtocolError(ErrorCode.READ_ONLY, "full", retry_after_ms=1_001))
    assert problem.status == 503 and problem.headers == {"Retry-After": "2"}
    assert problem.body()["retryable"] is True


def test_no_detail_stands_for_what_the_problem_says() -> None:
    problem = Problem(404, "x", "y")
    problem.detail = {"status": 200, "key": "k"}
    assert problem.body()["status"] == 404 and problem.body()["key"] == "k"


def test_a_code_that_nobody_thought_of_is_an_error_of_ours() -> None:
    assert of_error(ProtocolError(ErrorCode.BAD_MAGIC, "x")).status == 500


def test_every_status_is_one() -> None:
    assert all(HTTPStatus(status) >= 400 for status in STATUS.values())


def test_what_is_wrong_with_a_request_says_where_to_look() -> None:
    assert "docs/http.md" in bad_request("x").advice and bad_request("x", "y").advice == "y"
