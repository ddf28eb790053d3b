"""What changes a channel by HTTP: records, state, cursors, and its end (docs/http.md)."""

from __future__ import annotations

from aiohttp import web
from outlast_protocol import Encoding, Position, frames as f
from outlast_protocol.batch import STAMP, LabelKey, encode_labelled
from outlast_protocol.limits import BATCH_RECORDS_MAX

from ..channel import Channel
from .caller import Caller
from .idempotency import KEY_ROW, Keys, Stored, row_key
from .problem import Problem, bad_request
from .record_json import checked, label_of, loads, operation_of, row_of
from .visit import Visit, dictionary_response, place_of

Row = tuple[LabelKey, bytes]
JSON, TEXT, BYTES = "application/json", "text/plain", "application/octet-stream"


async def publish(visit: Visit) -> web.Response:
    kind = visit.content_type(JSON, TEXT, BYTES)
    if kind == JSON:
        if beside := [name for name in ("name", "header", "ttl_ms") if visit.texts(name)]:
            raise bad_request(f"{', '.join(beside)} of a record in JSON stand in it")
        rows = rows_of(loads(await visit.body()), row_of)
    else:
        rows = [await _plain_row(visit, Encoding.TEXT if kind == TEXT else Encoding.BYTES)]
    return await _store(visit, rows, 201)


async def change_state(visit: Visit) -> web.Response:
    visit.content_type(JSON)
    return await _store(visit, rows_of(loads(await visit.body()), operation_of), 200)


def rows_of(said: object, row: object) -> list[Row]:
    """One, or an array of them: a batch. Raises Problem."""
    assert callable(row)
    items = said if isinstance(said, list) else [said]
    if not 1 <= len(items) <= BATCH_RECORDS_MAX:
        raise bad_request(f"a batch has 1 to {BATCH_RECORDS_MAX} records, not {len(items)}")
    return [row(item) for item in items]


async def _plain_row(visit: Visit, encoding: Encoding) -> Row:
    name = visit.text("name")
    if name is None:
        name = visit.header("Outlast-Name")
    headers = dict(_header_of(text) for text in visit.texts("header"))
    ttl_ms = visit.number("ttl_ms", 0, 2**53 - 1) or 0
    data = await visit.body()
    if encoding is Encoding.TEXT:
        try:
            data.decode()
        except UnicodeDecodeError:
            raise bad_request("the body is not UTF-8", f"send bytes as {BYTES}") from None
    return label_of(encoding, name, headers, ttl_ms), data


def _header_of(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon or not key:
        raise bad_request(f"header is KEY:VALUE, not {text[:40]!r}")
    return key, value


async def _store(visit: Visit, rows: list[Row], status: int) -> web.Response:
    """Publishes them as one batch; answers when they are on disk."""
    if_offset = visit.number("if_offset")
    key = visit.idempotency_key()
    async with visit.caller() as caller:
        batch = _batch(caller.client_id, rows)
        opened = await caller.open(visit.channel, create=True)
        condition = f.UNCONDITIONAL if if_offset is None else if_offset
        frame = f.Publish(caller.request(), opened.number, 0, condition, 0, batch)
        if key is None:
            _, first, _ = await caller.begin(frame)
            stored, duplicate = Stored(first, len(rows), 0), False
        else:
            stored, duplicate = await _store_once(caller, frame, key, len(rows))
    said = {
        "first_offset": stored.first,
        "last_offset": stored.last,
        "position": str(Position(opened.epoch, stored.last)),
        "duplicate": duplicate,
    }
    return dictionary_response(said, status)


def _batch(client_id: str, rows: list[Row]) -> bytes:
    try:
        return encode_labelled(client_id, rows)
    except ValueError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        raise bad_request("a name, a header or a key is not UTF-8") from None


async def _store_once(caller: Caller, frame: f.Publish, key: str, count: int) -> tuple[Stored, bool]:
    """Where the records of this key are, and whether they were there before."""
    channel = caller.channel(frame.number)
    keys, row = _keys(caller, channel), row_key(caller.client_id, key)
    _, crc, _, _ = STAMP.unpack_from(frame.batch)
    known = keys.get(row)
    if known is not None:
        if known.crc != crc:
            advice = "give what is new a key of its own"
            raise Problem(422, "key_reused", "this Idempotency-Key has stored something else here", advice)
        await caller.settled()
        return known, True
    before = channel.assigned
    answer = caller.begin(frame)
    if channel.assigned > before:  # accepted: the key goes into the same commit
        stored = Stored(before + 1, count, crc)
        for each in keys.note(row, stored):
            caller.engine.put_row(channel, each, None)
        caller.engine.put_row(channel, row, stored.encode())
    _, first, _ = await answer
    return Stored(first, count, crc), False


def _keys(caller: Caller, channel: Channel) -> Keys:
    if channel.keys is None:
        channel.keys = Keys(caller.engine.log.rows(channel.number, KEY_ROW))
    return channel.keys


async def set_cursor(visit: Visit) -> web.Response:
    visit.content_type(JSON)
    said = checked(loads(await visit.body()), {"offset", "position"}, set(), "a cursor")
    if len(said) != 1:
        raise bad_request("a cursor is told its offset or its position")
    offset, epoch = _place(said)
    async with visit.caller() as caller:
        opened = await caller.open(visit.channel, create=False)
        if epoch not in (None, opened.epoch):
            now = str(Position(opened.epoch, 0)).partition(":")[0]
            raise Problem(410, "stale_epoch", f"the channel now lives in epoch {now}", "start again from `earliest`")
        cursor = visit.values["cursor"]
        result = await caller.result(f.Ack(caller.request(), opened.number, cursor, offset))
    return dictionary_response({"cursor": cursor, **result, "position": str(Position(opened.epoch, result["offset"]))})


def _place(said: dict[str, object]) -> tuple[int, int | None]:
    [value] = said.values()
    if "position" in said and isinstance(value, str) and ":" in value:
        return place_of("position", value)
    if "offset" in said and type(value) is int and 0 <= value < 2**63:
        return value, None
    raise bad_request('a cursor is {"offset": NUMBER} or {"position": "EPOCH:OFFSET"}')


async def delete_channel(visit: Visit) -> web.Response:
    async with visit.caller() as caller:
        result = await caller.result(f.Delete(caller.request(), visit.channel))
    return dictionary_response({"channel": visit.channel, "epoch": f"{result['epoch']:016x}"})
