"""What there is, and what a path means. Pure.

A path is split before it is decoded, and nothing else is done to it: `..`, `%2F` and empty segments are what somebody
has called a channel, or nothing at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .problem import Problem


class Route(NamedTuple):
    """`verb` is the name of what answers. `queries` are the parameters that it takes in the query."""

    method: str
    path: str
    verb: str
    queries: tuple[str, ...] = ()

    @property
    def is_counted(self) -> bool:
        """Those who look after the process are not kept waiting."""
        return self.path.startswith("/v1/")

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])


CHANNEL = "/v1/channels/{channel}"
PAGED = ("after", "limit")

ROUTES = (
    Route("GET", "/v1/channels", "list_channels", ("prefix", *PAGED)),
    Route("GET", CHANNEL, "get_channel"),
    Route("DELETE", CHANNEL, "delete_channel"),
    Route("POST", f"{CHANNEL}/records", "publish", ("if_offset", "name", "header", "ttl_ms")),
    Route("GET", f"{CHANNEL}/records", "get_records",
          ("after", "before", "last", "since_ms", "start", "limit", "backwards", "raw")),
    Route("GET", f"{CHANNEL}/events", "stream_events",
          ("after", "last", "since_ms", "start", "cursor", "raw", "create", "access_token")),
    Route("GET", f"{CHANNEL}/messages/{{message}}", "get_message"),
    Route("GET", f"{CHANNEL}/state", "get_state"),
    Route("PATCH", f"{CHANNEL}/state", "change_state", ("if_offset",)),
    Route("GET", f"{CHANNEL}/members", "list_members", ("after_client", "after_member", "limit")),
    Route("GET", f"{CHANNEL}/cursors", "list_cursors", PAGED),
    Route("PUT", f"{CHANNEL}/cursors/{{cursor}}", "set_cursor"),
    Route("GET", "/v1/status", "get_status"),
    Route("GET", "/v1/connections", "list_connections", PAGED),
    Route("GET", "/v1/revocations", "list_revocations", PAGED),
    Route("POST", "/v1/revocations", "revoke"),
    Route("GET", "/v1/ws", "open_websocket"),
    Route("GET", "/v1/openapi.json", "get_openapi"),
    Route("GET", "/metrics", "get_metrics"),
    Route("GET", "/livez", "get_livez"),
    Route("GET", "/readyz", "get_readyz", ("verbose",)),
)  # fmt: skip

# What people open; not a part of the API.
PAGES = (
    Route("GET", "/", "get_console"),
    Route("GET", "/console/{file}", "get_console_file", ("v",)),
)

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def find_route(method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
    """The route, and what stands in the places of its path. Raises Problem: 400, 404 or 405."""
    segments = raw_path.split("/")[1:]
    there = routes_at(raw_path)
    if not there:
        raise Problem(404, "no_such_path", f"nothing is at {raw_path[:100]!r}", "/v1/openapi.json says what there is")
    for route in there:
        if route.method == method or (method == "HEAD" and route.method == "GET" and route.verb != "stream_events"):
            return route, _values(route, segments)
    allowed = methods_of(there)
    problem = Problem(405, "bad_method", f"{method[:20]} is not for {there[0].path}", f"allowed are {allowed}")
    problem.headers["Allow"] = allowed
    raise problem


def methods_of(routes: list[Route]) -> str:
    return ", ".join(sorted({route.method for route in routes} | {"OPTIONS"}))


def routes_at(raw_path: str) -> list[Route]:
    segments = raw_path.split("/")[1:]
    return [route for route in (*ROUTES, *PAGES) if _fits(route, segments)]


def _fits(route: Route, segments: list[str]) -> bool:
    wanted = route.segments
    return len(wanted) == len(segments) and all(
        want == got or (want.startswith("{") and got) for want, got in zip(wanted, segments, strict=True)
    )


def _values(route: Route, segments: list[str]) -> dict[str, str]:
    pairs = zip(route.segments, segments, strict=True)
    return {want[1:-1]: decoded(got) for want, got in pairs if want.startswith("{")}


def decoded(segment: str) -> str:
    """What a percent-encoded segment says; "+" is a plus. Raises Problem."""
    try:
        if _BAD_ESCAPE.search(segment):
            raise ValueError("a percent sign begins two hexadecimal digits")
        return unquote_to_bytes(segment).decode()
    except ValueError as error:
        advice = "names are UTF-8, and percent-encoded in a path"
        raise Problem(400, "bad_path", f"{segment[:100]!r} names nothing: {error}"[:300], advice) from None
