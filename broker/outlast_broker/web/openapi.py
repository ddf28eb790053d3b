"""The OpenAPI document of the HTTP API. What routes.py says is not said again here: paths, methods and parameters."""

from __future__ import annotations

from functools import cache
from typing import Any

from aiohttp import web

from .. import __version__
from ..doors.crowd import DOORS
from .problem import PROBLEM_TYPE
from .reading import RECORDS_MAX
from .routes import ROUTES, Route
from .visit import Visit, dictionary_response

Schema = dict[str, Any]

WHOLE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
HEX: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
POSITION: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}:(0|[1-9][0-9]{0,18})$"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^\\x00-\\x1f\\x7f]+$"}
SUBJECT: Schema = NAME | {"maxLength": 128}
PLACE: Schema = {"anyOf": [POSITION, WHOLE], "description": "A position, or an offset alone."}
ANYTHING: Schema = {"description": "Text, JSON, or text in base64: see `encoding`."}
ENCODING: Schema = {"type": "string", "enum": ["text", "json", "base64"]}


def _object(required: str = "", **properties: Schema) -> Schema:
    said: Schema = {"type": "object", "properties": properties}
    return said | {"required": required.split()} if required else said


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TIME: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
STRICT: Schema = {"additionalProperties": False}
_HEADERS: Schema = {"type": "object", "additionalProperties": TEXT, "maxProperties": 64}
_OPERATIONS: Schema = {
    "oneOf": [
        _object("op key data", op={"const": "set"}, key=NAME, data={}, encoding=ENCODING, version=WHOLE) | STRICT,
        _object("op key", op={"const": "unset"}, key=NAME, version=WHOLE) | STRICT,
        _object("op key by", op={"const": "increment"}, key=NAME,
                by={"type": "integer", "minimum": 1 - 2**53, "maximum": 2**53 - 1}) | STRICT,
    ]
}  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "Publication": _object("data", data=ANYTHING, encoding=ENCODING, name=NAME, headers=_HEADERS, ttl_ms=TIME) | STRICT,
    "Record": _object(
        "offset position time_ms client_id encoding data", offset=WHOLE, position=POSITION, time_ms=WHOLE,
        client_id=TEXT, name=TEXT, headers=_HEADERS, ttl_ms=TIME, operation={"type": "object"}, encoding=ENCODING,
        data=ANYTHING,
    ),
    "Stored": _object("first_offset last_offset position duplicate", first_offset=WHOLE, last_offset=WHOLE,
                      position=POSITION, duplicate=FLAG),
    "Channel": _object(
        "channel epoch first last bytes last_ms position", channel=NAME, epoch=HEX, first=WHOLE, last=WHOLE,
        bytes=WHOLE, last_ms=WHOLE, position=POSITION, created_ms=WHOLE, subscribers=WHOLE, members=WHOLE,
        messages=WHOLE,
        retention={"type": "object", "additionalProperties": WHOLE},
    ),
    "Operation": _OPERATIONS,
    "Entry": _object("key version time_ms client_id encoding data", key=TEXT, version=WHOLE, time_ms=WHOLE,
                     client_id=TEXT, encoding=ENCODING, data=ANYTHING),
    "Member": _object("client_id member status time_ms encoding data", client_id=TEXT, member=HEX, time_ms=WHOLE,
                      status={"type": "string", "enum": ["present", "away", "left"]}, encoding=ENCODING,
                      data=ANYTHING, reason=TEXT),
    "Cursor": _object("cursor offset lag acked_ms", cursor=TEXT, offset=WHOLE, lag=WHOLE, acked_ms=WHOLE),
    "Connection": _object(
        "id client_id agent door address since_ms channels subscriptions behind waiting_bytes", id=WHOLE,
        client_id=TEXT, agent=TEXT, door={"type": "string", "enum": list(DOORS)}, address=TEXT, since_ms=WHOLE,
        channels=WHOLE, subscriptions=WHOLE, behind=WHOLE, waiting_bytes=WHOLE,
    ),
    "Revocation": {"oneOf": [
        _object("subject", subject=SUBJECT, issued_before_ms=TIME) | STRICT,
        _object("token_id", token_id=NAME) | STRICT]},
    "Revoked": {"oneOf": [
        _object("subject issued_before_ms until_ms", subject=TEXT, issued_before_ms=WHOLE, until_ms=WHOLE) | STRICT,
        _object("token_id until_ms", token_id=TEXT, until_ms=WHOLE) | STRICT]},
    "Problem": _object("type title status detail code retryable", type=TEXT, title=TEXT, status={"type": "integer"},
                       detail=TEXT, code=TEXT, retryable=FLAG, advice=TEXT),
}  # fmt: skip

QUERIES: dict[str, Schema] = {
    "before": PLACE, "last": WHOLE, "since_ms": WHOLE, "if_offset": WHOLE, "ttl_ms": TIME,
    "start": {"type": "string", "enum": ["earliest", "latest"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": RECORDS_MAX},
    "backwards": FLAG, "raw": FLAG, "create": FLAG, "verbose": FLAG,
    "access_token": TEXT, "prefix": TEXT, "cursor": NAME, "name": NAME, "after_client": TEXT, "after_member": HEX,
    "header": _array({"type": "string", "pattern": "^[^:]+:"}),
}  # fmt: skip
# Where `after` is no place in a channel.
_AFTER = {"list_channels": TEXT, "list_cursors": TEXT, "list_connections": WHOLE, "list_revocations": TEXT}

_STORED = {"application/json": _named("Stored")}
# By verb: what it does, the status and the body of its success, and the bodies that it takes.
VERBS: dict[str, tuple[str, int, Schema, Schema]] = {
    "list_channels": ("Channels in byte order of their names.", 200,
                      _object("channels more", channels=_array(_named("Channel")), more=FLAG), {}),
    "get_channel": ("What a channel is.", 200, _named("Channel"), {}),
    "delete_channel": ("Ends the life of a channel.", 200, _object("channel epoch", channel=TEXT, epoch=HEX), {}),
    "publish": ("Stores one record, or an array of them as one batch; answers when they are on disk.", 201,
                _named("Stored"), {
                    "application/json": {"oneOf": [
                        _named("Publication"), _array(_named("Publication")) | {"minItems": 1, "maxItems": 65_535}]},
                    "text/plain": TEXT, "application/octet-stream": {"type": "string", "format": "binary"},
                }),
    "get_records": ("A page of a channel's records, messages folded unless `raw`.", 200,
                    _object("records more first last", records=_array(_named("Record")), after=POSITION,
                            before=POSITION, more=FLAG, first=WHOLE, last=WHOLE), {}),
    "stream_events": ("A channel as server-sent events.", 200, TEXT, {}),
    "get_message": ("One message, folded.", 200, _named("Record"), {}),
    "get_state": ("A channel's state.", 200,
                  _object("position state", position=POSITION, state=_array(_named("Entry"))), {}),
    "change_state": ("Does operations on the state, all or none.", 200, _named("Stored"), {
        "application/json": _array(_named("Operation")) | {"minItems": 1, "maxItems": 65_535}}),
    "list_members": ("Who is in a channel.", 200,
                     _object("members more present away", members=_array(_named("Member")), more=FLAG, present=WHOLE,
                             away=WHOLE), {}),
    "list_cursors": ("Reading positions.", 200,
                     _object("cursors more", cursors=_array(_named("Cursor")), more=FLAG), {}),
    "set_cursor": ("Moves a cursor; it never goes back.", 200,
                   _object("cursor offset position", cursor=TEXT, offset=WHOLE, position=POSITION), {
                       "application/json": {"oneOf": [
                           _object("offset", offset=WHOLE) | STRICT,
                           _object("position", position=POSITION) | STRICT]}}),
    "get_status": ("What the broker is and does: the keys of PROTOCOL.md 6.16.", 200,
                   {"type": "object", "additionalProperties": {"type": ["integer", "string", "boolean"]}}, {}),
    "list_connections": ("Who is connected.", 200,
                         _object("connections more", connections=_array(_named("Connection")), more=FLAG), {}),
    "list_revocations": ("What tokens are not believed any more.", 200,
                         _object("revocations more", revocations=_array(_named("Revoked")), more=FLAG), {}),
    "revoke": ("Has tokens not believed any more, and cuts off who came with them.", 201, _object("cut", cut=WHOLE), {
        "application/json": _named("Revocation")}),
    "open_websocket": ("The native protocol over WebSocket (PROTOCOL.md 3.6).", 101, {}, {}),
    "get_openapi": ("This document.", 200, {"type": "object"}, {}),
    "get_metrics": ("Metrics for Prometheus, or in OpenMetrics if that is accepted.", 200, TEXT, {}),
    "get_livez": ("Whether the broker lives.", 200, TEXT, {}),
    "get_readyz": ("Whether it takes work.", 200, TEXT, {}),
}  # fmt: skip
_TEXT_ANSWERS = {
    "stream_events": "text/event-stream",
    "get_metrics": "text/plain",
    "get_livez": "text/plain",
    "get_readyz": "text/plain",
}
_ONCE = ("publish", "change_state")


async def get_openapi(visit: Visit) -> web.Response:
    return dictionary_response(document())


@cache
def document() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    info = {
        "title": "Outlast",
        "version": __version__,
        "description": "The durable session broker for AI agents. docs/http.md explains it.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": SCHEMAS}}


def _operation(route: Route) -> dict[str, Any]:
    summary, status, answer, bodies = VERBS[route.verb]
    said: dict[str, Any] = {
        "operationId": route.verb,
        "summary": summary,
        "parameters": _parameters(route),
        "responses": {str(status): _response(route.verb, answer), "default": _problem()},
    }
    if route.verb == "get_readyz":
        said["responses"]["503"] = _response(route.verb, answer) | {"description": "It does not."}
    if bodies:
        content = {kind: {"schema": schema} for kind, schema in bodies.items()}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _parameters(route: Route) -> list[dict[str, Any]]:
    places = [segment[1:-1] for segment in route.segments if segment.startswith("{")]
    found = [_parameter("path", name, PLACE if name == "message" else NAME) | {"required": True} for name in places]
    for name in route.queries:
        schema = _AFTER.get(route.verb, PLACE) if name == "after" else QUERIES[name]
        found.append(_parameter("query", name, schema))
    if places:
        found.append(_parameter("header", "Outlast-Client", {"type": "string", "pattern": "^[!-~]{1,128}$"}))
    if route.verb in _ONCE:
        found.append(_parameter("header", "Idempotency-Key", {"type": "string", "pattern": "^[!-~]{1,255}$"}))
    if route.verb == "stream_events":
        found.append(_parameter("header", "Last-Event-ID", POSITION))
    return found


def _parameter(place: str, name: str, schema: Schema) -> dict[str, Any]:
    return {"in": place, "name": name, "schema": schema}


def _response(verb: str, schema: Schema) -> dict[str, Any]:
    if not schema:
        return {"description": "It is done."}
    kinds = [_TEXT_ANSWERS.get(verb, "application/json")]
    if verb == "get_readyz":
        return {"description": "It is so.", "content": {"text/plain": {"schema": TEXT}, "application/json": {
            "schema": {"type": "object"}}}}  # fmt: skip
    return {"description": "It is so.", "content": {kind: {"schema": schema} for kind in kinds}}


def _problem() -> dict[str, Any]:
    return {"description": "What is wrong.", "content": {PROBLEM_TYPE: {"schema": _named("Problem")}}}
