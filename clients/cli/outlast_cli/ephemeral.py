"""`pub --ephemeral` and `sub --ephemeral`: what is told to those who are here, and stored nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from outlast import Channel, Data, EphemeralMessage, Record

from .exits import Exit, Failure
from .rendering import as_columns, as_data, json_data, json_line
from .sink import Sink

RenderEphemeral = Callable[[EphemeralMessage], bytes]


async def tell(channel: Channel, data: Data, labels: dict[str, Any]) -> int:
    """The question behind it is answered after it: then it has arrived. Raises UnknownChannel."""
    try:
        sent = channel.send_ephemeral(data, **labels)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    if not sent:
        raise Failure("the connection to the broker was lost: nothing was sent", Exit.UNREACHABLE)
    await channel.info()
    return Exit.OK


async def overhear(channel: Channel, sink: Sink, render: RenderEphemeral, most: int | None) -> int:
    """Writes what comes, until there were `most`."""
    heard = 0
    async with channel.ephemeral() as messages:
        while most is None or heard < most:
            sink.add(render(await anext(messages)))
            await sink.flush()
            heard += 1
    return Exit.OK


def choose_render(wants_json: bool, on_terminal: bool) -> RenderEphemeral:
    if wants_json:
        return as_json
    return lambda message: (as_columns if on_terminal else as_data)(_as_record(message))


def as_json(message: EphemeralMessage) -> bytes:
    """time, name, client_id, data; headers if there are any."""
    fields: dict[str, Any] = {
        "time": message.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "name": message.name,
        "client_id": message.client_id,
        "data": json_data(message.data),
    }
    if message.headers:
        fields["headers"] = dict(message.headers)
    return json_line(fields)


def _as_record(message: EphemeralMessage) -> Record:
    """It has no place in the log: its offset is 0, as on the wire."""
    return Record(0, message.data, message.name, message.headers, message.client_id, message.time_ms, 0)
