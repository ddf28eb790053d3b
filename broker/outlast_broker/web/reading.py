"""What can be asked of channels by HTTP, and changes nothing (docs/http.md)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web
from outlast_protocol import Position, Record, frames as f
from outlast_protocol.batch import read_records

from .problem import bad_request
from .record_json import record_json, state_row, with_data
from .visit import Visit, dictionary_response, json_response, place_of

RECORDS_DEFAULT = 100
RECORDS_MAX = 1_000
ROWS_DEFAULT = 100
ROWS_MAX = 1_000
# After so many records of a long page others get their turn.
RECORDS_AT_ONCE = 100
STATUS_NAMES = ("present", "away", "left")
_MEMBER = re.compile(r"[0-9a-f]{16}")


# --- channels ---------------------------------------------------------------------------------------------


async def list_channels(visit: Visit) -> web.Response:
    limit = visit.limit(ROWS_DEFAULT, ROWS_MAX)
    async with visit.caller() as caller:
        asked = f.List(caller.request(), visit.text("prefix") or "", visit.text("after"), limit)
        result = await caller.result(asked)
    channels = [_described(row) for row in result["channels"]]
    return dictionary_response({"channels": channels, "more": result["more"]})


async def get_channel(visit: Visit) -> web.Response:
    async with visit.caller() as caller:
        result = await caller.result(f.Info(caller.request(), visit.channel))
    return dictionary_response(_described(result))


def _described(row: dict[str, Any]) -> dict[str, Any]:
    """Epochs go as text: JSON's readers do not hold 64 bits."""
    position = str(Position(row["epoch"], row["last"]))
    return {name: value for name, value in row.items() if name != "number"} | {
        "epoch": f"{row['epoch']:016x}",
        "position": position,
    }


# --- the broker itself --------------------------------------------------------------------------------------


async def get_status(visit: Visit) -> web.Response:
    async with visit.caller() as caller:
        return dictionary_response(await caller.result(f.Status(caller.request())))


async def list_connections(visit: Visit) -> web.Response:
    after, limit = visit.number("after") or 0, visit.limit(ROWS_DEFAULT, ROWS_MAX)
    async with visit.caller() as caller:
        return dictionary_response(await caller.result(f.Connections(caller.request(), after, limit)))


# --- records ----------------------------------------------------------------------------------------------


async def get_records(visit: Visit) -> web.Response:
    ask = _history(visit)
    async with visit.caller() as caller:
        opened = await caller.open(visit.channel, create=False)
        page = await caller.ask(ask(caller.request(), opened.number), f.Page)
    return await _page(page, opened.epoch, _backwards(visit))


def _history(visit: Visit) -> Callable[[int, int], f.History]:
    """The request for the page that the query asks for. From the earliest on, if it does not say."""
    after, epoch = visit.place("after")
    before, before_epoch = visit.place("before")
    backwards = _backwards(visit)
    start, last, since_ms = visit.text("start"), visit.number("last"), visit.number("since_ms")
    if (after, start, last, since_ms) == (None, None, None, None):
        start = None if backwards else "earliest"
    elif backwards:
        raise bad_request("backwards goes with before, or with nothing: it begins at the end")
    limit = visit.limit(RECORDS_DEFAULT if last is None else max(1, min(last, RECORDS_MAX)), RECORDS_MAX)
    fold = not visit.flag("raw")

    def ask(request: int, number: int) -> f.History:
        return f.History(
            request, number, limit, after, before, before_epoch if backwards else epoch, start, last, since_ms,
            backwards, fold,
        )  # fmt: skip

    return ask


def _backwards(visit: Visit) -> bool:
    return visit.flag("backwards", default=visit.text("before") is not None)


async def _page(page: f.Page, epoch: int, backwards: bool) -> web.Response:
    records = meant(read_records(page.batches), page.low, page.high)
    texts = []
    for index, record in enumerate(records):
        if index % RECORDS_AT_ONCE == RECORDS_AT_ONCE - 1:
            await asyncio.sleep(0)
        texts.append(record_json(record, epoch))
    more = page.low > page.first if backwards else page.high < page.last
    at = page.low if backwards else page.high
    going_on = f'"{"before" if backwards else "after"}": "{Position(epoch, at)}", "more": {json.dumps(more)}'
    bounds = f'"first": {page.first}, "last": {page.last}'
    return json_response(f'{{"records": [{", ".join(texts)}], {going_on}, {bounds}}}')


def meant(records: list[Record], low: int, high: int) -> list[Record]:
    """Without those around them that came in the same batches."""
    return [record for record in records if low <= record.offset <= high]


async def get_message(visit: Visit) -> web.Response:
    message = place_of("message", visit.values["message"])[0]
    async with visit.caller() as caller:
        opened = await caller.open(visit.channel, create=False)
        page = await caller.ask(f.Message(caller.request(), opened.number, message), f.Page)
    [record] = read_records(page.batches)
    return json_response(record_json(record, opened.epoch))


# --- what lies beside the log -----------------------------------------------------------------------------


async def get_state(visit: Visit) -> web.Response:
    async with visit.caller() as caller:
        result = await caller.result(f.State(caller.request(), visit.channel))
    rows = ", ".join(state_row(row) for row in result["state"])
    position = Position(result["epoch"], result["last"])
    return json_response(f'{{"position": "{position}", "state": [{rows}]}}')


async def list_members(visit: Visit) -> web.Response:
    after_client, after_member = visit.text("after_client"), visit.text("after_member")
    if after_member is not None and not _MEMBER.fullmatch(after_member):
        raise bad_request("after_member is 16 hexadecimal digits, as in the list")
    number = None if after_member is None else int(after_member, 16)
    limit = visit.limit(ROWS_DEFAULT, ROWS_MAX)
    async with visit.caller() as caller:
        result = await caller.result(f.Members(caller.request(), visit.channel, after_client, number, limit))
    rows = ", ".join(member_row(row) for row in result["members"])
    counts = f'"present": {result["present"]}, "away": {result["away"]}'
    return json_response(f'{{"members": [{rows}], "more": {json.dumps(result["more"])}, {counts}}}')


def member_row(row: list[Any]) -> str:
    client_id, member, status, encoding, data, time_ms, reason = row
    said = {"client_id": client_id, "member": f"{member:016x}", "status": STATUS_NAMES[status], "time_ms": time_ms}
    return with_data(said | ({"reason": reason} if reason else {}), encoding, data)


async def list_cursors(visit: Visit) -> web.Response:
    async with visit.caller() as caller:
        asked = f.Cursors(caller.request(), visit.channel, visit.text("after"), visit.limit(ROWS_DEFAULT, ROWS_MAX))
        result = await caller.result(asked)
    return dictionary_response(result)
