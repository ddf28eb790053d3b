"""What goes wrong, as HTTP says it: a status and application/problem+json (RFC 9457). Pure."""

from __future__ import annotations

import json
from http import HTTPStatus

from outlast_protocol import ErrorCode, ProtocolError

PROBLEM_TYPE = "application/problem+json"
# Every code that an answer over HTTP can have; the others are about frames, and are an error of ours.
STATUS: dict[ErrorCode, int] = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.FRAME_TOO_LARGE: 413,
    ErrorCode.BAD_BODY: 400,
    ErrorCode.BAD_BATCH: 400,
    ErrorCode.BAD_CHANNEL_NAME: 400,
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.OFFSET_AHEAD: 409,
    ErrorCode.OFFSET_MISMATCH: 412,
    ErrorCode.STALE_EPOCH: 410,
    ErrorCode.TRIMMED: 410,
    ErrorCode.LIMIT_EXCEEDED: 409,
    ErrorCode.UNKNOWN_CURSOR: 404,
    ErrorCode.UNKNOWN_MESSAGE: 404,
    ErrorCode.MESSAGE_CLOSED: 409,
    ErrorCode.FOREIGN_MESSAGE: 403,
    ErrorCode.VERSION_MISMATCH: 412,
    ErrorCode.NOT_A_NUMBER: 409,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.READ_ONLY: 503,
    ErrorCode.GOING_AWAY: 503,
    ErrorCode.DAMAGED: 500,
    ErrorCode.INTERNAL: 500,
}

# Where what helps a client of the protocol is of no help here.
ADVICE: dict[ErrorCode, str] = {
    ErrorCode.BAD_BODY: "docs/http.md and /v1/openapi.json say what is allowed",
    ErrorCode.BAD_BATCH: "docs/http.md and the limits in PROTOCOL.md section 9 say what is allowed",
    ErrorCode.UNKNOWN_CHANNEL: "publish to it: that makes it",
    ErrorCode.UNKNOWN_CURSOR: "put it to an offset: that makes it",
}


class Problem(Exception):
    """An answer that is no success. `code` is one of section 8 of PROTOCOL.md, or one that only HTTP has."""

    def __init__(self, status: int, code: str, text: str, advice: str = "", retryable: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.advice = advice
        self.retryable = retryable
        self.detail: dict[str, int | str] = {}
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, object]:
        """What it says in JSON. Its own members come last, so that no detail can stand for them."""
        said: dict[str, object] = {
            "type": f"urn:outlast:error:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.text,
            "code": self.code,
            "retryable": self.retryable,
        }
        if self.advice:
            said["advice"] = self.advice
        return {name: value for name, value in self.detail.items() if name not in said} | said

    def encoded(self) -> bytes:
        return json.dumps(self.body()).encode()


def of_error(error: ProtocolError) -> Problem:
    """The same refusal, with its details, for one who came by HTTP."""
    problem = Problem(STATUS.get(error.code, 500), error.name, error.message, ADVICE.get(error.code, error.advice))
    problem.retryable = error.retryable
    problem.detail = dict(error.detail)
    if problem.status == 401:
        problem.headers["WWW-Authenticate"] = 'Bearer realm="outlast"'
    retry_after_ms = error.detail.get("retry_after_ms")
    if isinstance(retry_after_ms, int):
        problem.headers["Retry-After"] = str(max(1, -(-retry_after_ms // 1000)))
    return problem


def bad_request(text: str, advice: str = "") -> Problem:
    return Problem(400, ErrorCode.BAD_BODY.name.lower(), text, advice or ADVICE[ErrorCode.BAD_BODY])
