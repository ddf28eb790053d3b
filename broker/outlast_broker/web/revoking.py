"""Tokens that are not to be believed any more, by HTTP: for a backend that issues them (docs/security.md)."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from outlast_protocol import frames as f
from outlast_protocol.limits import CLIENT_ID_BYTES_MAX

from ..auth.revocations import TOKEN_ID_BYTES_MAX
from ..names import is_name
from .problem import bad_request
from .reading import ROWS_DEFAULT, ROWS_MAX
from .record_json import checked, loads
from .visit import Visit, dictionary_response

TIME_MS_MAX = 2**53 - 1  # what every reader of JSON holds


async def revoke(visit: Visit) -> web.Response:
    """Answers when it is on disk."""
    visit.content_type("application/json")
    said = _revocation(loads(await visit.body()))
    async with visit.caller() as caller:
        result = await caller.result(f.Revoke(caller.request(), **said))
    return dictionary_response(result, 201)


def _revocation(said: object) -> dict[str, Any]:
    """What REVOKE says. Raises Problem."""
    known = checked(said, {"subject", "token_id", "issued_before_ms"}, set(), "a revocation")
    bounds = {"subject": CLIENT_ID_BYTES_MAX, "token_id": TOKEN_ID_BYTES_MAX}
    for name in bounds.keys() & known.keys():
        if not _is_name(known[name], bounds[name]):
            raise bad_request(f"{name} is text of 1 to {bounds[name]} bytes without control characters")
    before_ms = known.get("issued_before_ms", 0)
    if type(before_ms) is not int or not 0 <= before_ms <= TIME_MS_MAX:
        raise bad_request(f"issued_before_ms is a whole number from 0 to {TIME_MS_MAX}")
    if "token_id" in known and "issued_before_ms" in known:
        raise bad_request("issued_before_ms goes with subject: a token_id is about one token, whenever it was issued")
    return known


def _is_name(said: object, bytes_max: int) -> bool:
    try:
        return isinstance(said, str) and len(said) <= bytes_max and is_name(said, bytes_max)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        return False


async def list_revocations(visit: Visit) -> web.Response:
    after, limit = visit.text("after"), visit.limit(ROWS_DEFAULT, ROWS_MAX)
    async with visit.caller() as caller:
        return dictionary_response(await caller.result(f.Revocations(caller.request(), after, limit)))
