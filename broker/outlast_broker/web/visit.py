"""One HTTP request as its verb sees it: who asks, and for what. What is wrong with it is raised as a Problem."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl

from aiohttp import web
from outlast_protocol import Position
from outlast_protocol.limits import CLIENT_ID_BYTES_MAX
from outlast_protocol.position import OFFSET_MAX

from .. import clock
from ..doors.bucket import Rates
from ..doors.door import address_of
from ..engine import Engine
from ..names import is_name
from ..rights import check_monitor
from .caller import Caller
from .problem import Problem, bad_request
from .record_json import too_large
from .routes import Route

CHANGING = ("POST", "PUT", "PATCH", "DELETE")
# As many bytes as a batch may have; parsing more JSON at once would keep everybody else waiting.
BODY_BYTES_MAX = 1_048_576
BODY_TIMEOUT_MS = 30_000
QUERY_FIELDS_MAX = 100
KEY_BYTES_MAX = 255
QUERY_TOKEN = "access_token"
_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}
_NUMBER = re.compile(r"[0-9]{1,19}")


class Streaming(Protocol):
    """An answer that goes on until it is told to end."""

    def end(self) -> None: ...


class Visit:
    """`values` are what stands in the places of the path, `headers` what every answer to this request has."""

    def __init__(self, request: web.BaseRequest, route: Route, values: Mapping[str, str], engine: Engine) -> None:
        self.request = request
        self.route = route
        self.values = values
        self.engine = engine
        self.headers: dict[str, str] = {}
        self.streams: set[Streaming] = set()
        self.body_timeout_ms = BODY_TIMEOUT_MS
        self._query = _query(request.rel_url.raw_query_string, route)

    # --- who asks -----------------------------------------------------------------------------------------

    @property
    def client_id(self) -> str | None:
        """What the request calls its client, if it does."""
        client_id = self.header("Outlast-Client") or None
        if client_id is not None and not is_name(client_id, CLIENT_ID_BYTES_MAX):
            raise bad_request(f"Outlast-Client is 1 to {CLIENT_ID_BYTES_MAX} bytes without control characters")
        return client_id

    @property
    def address(self) -> str:
        transport = self.request.transport
        return "" if transport is None else address_of(transport)

    @property
    def token(self) -> str | None:
        """Of the Authorization header, or of the query where that is allowed. Raises ProtocolError and Problem."""
        said = self.header("Authorization")
        in_query = self.text(QUERY_TOKEN)
        if in_query is None:
            return bearer_of(said)
        if said is not None:
            raise bad_request(f"a token comes in Authorization or as {QUERY_TOKEN}, not as both")
        self.engine.authority.admit_by_query(in_query, clock.now_ms())
        return in_query

    def check_monitor(self) -> None:
        """Raises ProtocolError for one who may not see metrics, where there are tokens."""
        check_monitor(self.engine.authority.identify(self.token, clock.now_ms()))

    @property
    def came(self) -> Rates:
        """What the request counts for."""
        return Rates(1, self.request.content_length or 0, int(self.route.method in CHANGING))

    def count(self, caller: Caller) -> None:
        """Raises ProtocolError for a client that asks too often."""
        if client := caller.connection.client:
            self.engine.admission.request(client, self.came, clock.steady_ms())

    @asynccontextmanager
    async def caller(self) -> AsyncIterator[Caller]:
        """A client in whose name to ask, for as long as the block lasts."""
        caller = Caller(self.engine, self.client_id, self.token, self.address)
        try:
            self.count(caller)
            yield caller
        finally:
            caller.leave()

    @property
    def channel(self) -> str:
        return self.values["channel"]

    def header(self, name: str) -> str | None:
        """Raises Problem for one that comes twice, or is not UTF-8."""
        values = self.request.headers.getall(name, [])
        if len(values) > 1:
            raise bad_request(f"{name} comes more than once")
        if not values:
            return None
        try:
            values[0].encode()
        except UnicodeEncodeError:
            raise bad_request(f"{name} is not UTF-8") from None
        return values[0]

    def idempotency_key(self) -> str | None:
        key = self.header("Idempotency-Key")
        if key is not None and not is_name(key, KEY_BYTES_MAX):
            raise bad_request(f"Idempotency-Key is 1 to {KEY_BYTES_MAX} bytes without control characters")
        return key

    # --- parameters ---------------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        values = self.texts(name)
        if len(values) > 1:
            raise bad_request(f"{name} comes more than once")
        return values[0] if values else None

    def texts(self, name: str) -> list[str]:
        return [value for key, value in self._query if key == name]

    def number(self, name: str, least: int = 0, most: int = OFFSET_MAX) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise bad_request(f"{name} is a whole number from {least} to {most}, not {text[:40]!r}")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        number = self.number("limit", 1, most)
        return default if number is None else number

    def flag(self, name: str, default: bool = False) -> bool:
        text = self.text(name)
        if text is not None and text not in _FLAGS:
            raise bad_request(f"{name} is true or false, not {text[:40]!r}")
        return default if text is None else _FLAGS[text]

    def place(self, name: str) -> tuple[int | None, int | None]:
        """The offset and the epoch that a position says, or an offset alone."""
        text = self.text(name)
        return (None, None) if text is None else place_of(name, text)

    # --- the body -----------------------------------------------------------------------------------------

    async def body(self) -> bytes:
        """All of it. Raises Problem: 408, 413, 415."""
        request = self.request
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Problem(415, "bad_encoding", "a body comes as it is", "send it without Content-Encoding")
        if (request.content_length or 0) > BODY_BYTES_MAX:
            raise _closing(too_large(BODY_BYTES_MAX))
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(self.body_timeout_ms / 1000):
                return await self._read()
        except TimeoutError:
            raise _closing(Problem(408, "too_slow", "the body did not come in time", retryable=True)) from None

    async def _read(self) -> bytes:
        body = bytearray()
        async for part in self.request.content.iter_any():
            body += part
            if len(body) > BODY_BYTES_MAX:
                raise _closing(too_large(BODY_BYTES_MAX))
        return bytes(body)

    def content_type(self, *allowed: str) -> str:
        """Which of these the body is. Raises Problem: 415."""
        said = self.header("Content-Type") or ""
        kind, *parameters = [part.strip().lower() for part in said.split(";")]
        charset = [each for each in parameters if each.startswith("charset=")]
        if kind not in allowed or not set(charset) <= {"charset=utf-8", 'charset="utf-8"'}:
            advice = f"set Content-Type to {' or '.join(allowed)}, in UTF-8"
            raise Problem(415, "bad_content_type", f"{said[:80]!r} is not taken here", advice)
        return kind


def bearer_of(said: str | None) -> str | None:
    """The token of an Authorization header; another scheme's is none of ours."""
    scheme, _, token = (said or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def place_of(name: str, text: str) -> tuple[int, int | None]:
    if _NUMBER.fullmatch(text) and int(text) <= OFFSET_MAX:
        return int(text), None
    try:
        position = Position.parse(text)
    except ValueError as error:
        raise bad_request(f"{name}: {error}, or an offset") from None
    return position.offset, position.epoch


def _query(raw: str, route: Route) -> list[tuple[str, str]]:
    """What the query says; what it may not say is refused, for a misspelt parameter would pass unnoticed."""
    try:
        found = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise bad_request("the query is not key=value pairs in percent-encoded UTF-8") from None
    if unknown := {key for key, _ in found} - set(route.queries):
        allowed = ", ".join(route.queries) or "no parameters"
        shown = ", ".join(sorted(repr(key[:40]) for key in unknown)[:5])
        raise bad_request(f"{route.method} {route.path} has no {shown}; it takes {allowed}")
    return found


def _closing(problem: Problem) -> Problem:
    """What is still to come of the body is not waited for."""
    problem.headers["Connection"] = "close"
    return problem


def json_response(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")


def dictionary_response(said: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.json_response(said, status=status)
