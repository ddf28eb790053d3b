"""The HTTP door: one aiohttp server in the broker's loop. It finds the verb for a request, and says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from outlast_protocol import ErrorCode, ProtocolError

from .. import __version__, clock, logs
from ..connection import ClientConnection
from ..doors.admission import Peer, request as count_request
from ..doors.door import bound_buffers
from ..engine import Engine
from ..trace import TRACEPARENT, trace_id
from . import console, events, health, openapi, publishing, reading, revoking, scraping, upgrade
from .origins import Origins, is_loopback
from .problem import PROBLEM_TYPE, Problem, of_error
from .routes import find_route, methods_of, routes_at
from .shared_door import SharedDoor
from .visit import Streaming, Visit, bearer_of
from .websocket_door import WebSocketDoor

logger = logs.logger("outlast.web")

# Of a request's head: its first line, each of its headers, their number. What is longer is refused with 400.
LINE_BYTES_MAX = 8_190
HEADERS_MAX = 128
# How long a connection may wait for its next request to come whole.
IDLE_S = 75.0
# What is still to come of a body that was refused is read and thrown away for so long, that the answer arrives.
LINGER_S = 2.0
READ_BYTES = 65_536
PREFLIGHT_S = 600
SERVER = f"outlast/{__version__}"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Outlast-Client, Outlast-Name"

Verb = Callable[[Visit], Awaitable[web.StreamResponse]]

VERBS: dict[str, Verb] = {
    "list_channels": reading.list_channels,
    "get_channel": reading.get_channel,
    "delete_channel": publishing.delete_channel,
    "publish": publishing.publish,
    "get_records": reading.get_records,
    "stream_events": events.stream_events,
    "get_message": reading.get_message,
    "get_state": reading.get_state,
    "change_state": publishing.change_state,
    "list_members": reading.list_members,
    "list_cursors": reading.list_cursors,
    "set_cursor": publishing.set_cursor,
    "get_status": reading.get_status,
    "list_connections": reading.list_connections,
    "list_revocations": revoking.list_revocations,
    "revoke": revoking.revoke,
    "get_openapi": openapi.get_openapi,
    "get_metrics": scraping.get_metrics,
    "get_livez": health.get_livez,
    "get_readyz": health.get_readyz,
    "get_console": console.get_console,
    "get_console_file": console.get_console_file,
}


class Site:
    """All HTTP of one broker. `entered` and `left` are told of the WebSockets that its requests become."""

    def __init__(
        self,
        engine: Engine,
        entered: Callable[[ClientConnection], None],
        left: Callable[[ClientConnection], None],
    ) -> None:
        self._engine = engine
        self._entered = entered
        self._left = left
        self.origins = Origins(engine.config.allow_origins)
        self._streams: set[Streaming] = set()
        self._answering: set[web.RequestHandler] = set()
        # Whoever goes away takes the verb that works for it along.
        self._server = web.Server(self._answer, handler_cancellation=True)

    # --- its life -----------------------------------------------------------------------------------------

    def door(self, peer: Peer) -> HttpConnection:
        """A protocol for one socket."""
        loop = asyncio.get_running_loop()
        connection = HttpConnection(
            self._server, loop=loop, keepalive_timeout=IDLE_S, access_log=cast(Any, None), max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX, max_headers=HEADERS_MAX, read_bufsize=READ_BYTES, auto_decompress=False,
            lingering_time=LINGER_S,
        )  # fmt: skip
        connection.peer = peer
        return connection

    @property
    def empty(self) -> bool:
        return not self._server.connections

    def leave(self) -> None:
        """Ends the streams, and the connections that wait for nothing; the others when they have been answered."""
        for stream in list(self._streams):
            stream.end()
        for connection in self._server.connections:
            connection.close()
            if connection not in self._answering:
                connection.force_close()

    @property
    def waiting_bytes(self) -> int:
        """What sockets have not taken yet."""
        transports = (connection.transport for connection in self._server.connections)
        return sum(each.get_write_buffer_size() for each in transports if each is not None)

    def abort_biggest(self, over_bytes: int) -> int:
        """Ends those to whom most is owed, until so much less is; returns how many."""
        transports = [each.transport for each in self._server.connections if each.transport is not None]
        transports.sort(key=lambda each: each.get_write_buffer_size())
        count = 0
        while transports and over_bytes > 0:
            count += 1
            biggest = transports.pop()
            over_bytes -= biggest.get_write_buffer_size()
            biggest.abort()
        return count

    def abort(self) -> None:
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    # --- one request --------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._answering.add(connection)
        try:
            return await self._said(request)
        finally:
            self._answering.discard(connection)

    async def _said(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": SERVER}
        try:
            headers |= self._admit(request)
            response = await self._verb(request, headers)
        except ProtocolError as error:
            self._engine.counters.rate_limited += error.code is ErrorCode.RATE_LIMITED
            response = problem_response(of_error(error))
        except Problem as problem:
            response = problem_response(problem)
        except ConnectionError:
            raise  # whoever asked has gone
        except Exception:
            trace = trace_id(request.headers.get(TRACEPARENT))
            logger.exception("request_failed", method=request.method, path=request.rel_url.raw_path, trace=trace)
            response = problem_response(Problem(500, "internal", "the broker failed to answer", retryable=True))
        if not response.prepared:
            response.headers.extend({name: said for name, said in headers.items() if name not in response.headers})
        if self._engine.leaving:
            response.force_close()
        self._engine.counters.responses[response.status] += 1
        return response

    def _admit(self, request: web.BaseRequest) -> dict[str, str]:
        """Raises Problem for a browser that is not let in; returns what others are told (CORS)."""
        origin = request.headers.get("Origin")
        self.origins.check(origin, request.headers.get("Host", ""), is_loopback(request.protocol.sockname))
        if origin is None or not self.origins.names(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }

    async def _verb(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if request.method == "OPTIONS" and (there := routes_at(path)):
            return _options(methods_of(there))
        route, values = find_route(request.method, path)
        if route.verb == "open_websocket":
            return self._open_websocket(request)
        visit = Visit(request, route, values, self._engine)
        visit.headers = headers
        visit.streams = self._streams
        if route.is_counted:
            peer = cast(HttpConnection, request.protocol).peer
            assert peer is not None, "the request came over a socket that has become something else"
            count_request(peer.meters, visit.came, clock.steady_ms())
        return await VERBS[route.verb](visit)

    def _open_websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._engine.leaving:
            self._engine.check_writable()
        said = upgrade.accept(request.headers)
        token = upgrade.token_of(request.headers) or bearer_of(request.headers.get("Authorization"))
        kind = SharedDoor if upgrade.chosen(request.headers) == upgrade.SHARED else WebSocketDoor
        connection = cast(HttpConnection, request.protocol)
        peer, connection.peer = connection.peer, None
        assert peer is not None, "a socket becomes a WebSocket once"
        connection.become(kind(self._engine, peer, self._entered, self._left, token), said)
        return Switched()


def _options(methods: str) -> web.Response:
    headers = {
        "Allow": methods,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }
    return web.Response(status=204, headers=headers)


def problem_response(problem: Problem) -> web.Response:
    response = web.Response(body=problem.encoded(), status=problem.status, content_type=PROBLEM_TYPE)
    response.headers.update(problem.headers)
    if problem.headers.get("Connection") == "close":
        response.force_close()
    return response


class HttpConnection(web.RequestHandler):
    """aiohttp's, with answers of ours to what is no request, and a way out of HTTP; `peer` goes along."""

    __slots__ = ("peer",)
    peer: Peer | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        bound_buffers(cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.peer is not None:
            self.peer.leave()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For what aiohttp itself refuses: a head that is no head, or too long. What it says may hold a token."""
        logger.info("refused", error=type(exc).__name__)
        text = (message or "this is no HTTP request").strip().splitlines()[0][:200]
        response = problem_response(Problem(status, "bad_request" if status < 500 else "internal", text))
        response.force_close()
        return response

    def become(self, protocol: asyncio.Protocol, said: bytes) -> None:
        """The socket is another protocol's from here on: `said` goes out, and what came behind the request goes in."""
        transport = self.transport
        assert transport is not None, "the request came over a socket that is gone"
        self.transport = None  # so that nothing here closes it
        transport.write(said)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.set_parser(cast(Any, _Behind(protocol)))
        self.connection_lost(None)
        if not transport.is_reading():  # it had read enough, and waited for somebody to take it
            transport.resume_reading()


class _Behind:
    """Hands on what an HTTP connection had read already."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._protocol.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        """The end of HTTP is not the end of the socket."""


class Switched(web.StreamResponse):
    """The answer that was given already."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing follows."""
