"""`outlast export`: channels as text, a line of JSON for each record."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import click
from outlast import Channel, Client, Data, Record

from .exits import Exit
from .options import broker_options
from .rendering import json_line, operation_fields
from .session import channel_of, run_session, say
from .sink import Sink, while_read


@click.command(short_help="Write channels to standard output, a line of JSON for each record.")
@click.argument("names", nargs=-1, metavar="[CHANNEL...]")
@click.option("--prefix", metavar="TEXT", help="All channels whose names begin so; with neither, all there are.")
@broker_options
def export(names: tuple[str, ...], prefix: str | None, url: str, connect_timeout_ms: int) -> int:
    """Write what channels hold now to standard output, for `outlast import`, another tool, or to keep.

    A growing message is one record, whole. Each channel ends with a line that has its state.
    """
    if names and prefix is not None:
        raise click.UsageError("name channels, or give --prefix: not both")

    async def job(client: Client) -> int:
        sink = Sink()
        wanted = names or [row.name async for row in client.channels(prefix=prefix or "")]
        return await while_read(sink, _export(client, wanted, sink))

    return run_session(url, connect_timeout_ms, job)


async def _export(client: Client, names: Any, sink: Sink) -> int:
    records = 0
    try:
        for name in names:
            records += await _export_channel(channel_of(client, name), sink)
    finally:
        await sink.flush()
    say(f"exported {records:,} records of {len(names):,} channels")
    return Exit.OK


async def _export_channel(channel: Channel, sink: Sink) -> int:
    """How many records it had. What comes meanwhile is left out."""
    last = (await channel.info()).last
    records = 0
    async for record in channel.history(before=last + 1):
        sink.add(json_line({"channel": channel.name} | _fields(record)))
        records += 1
        if sink.is_full:
            await sink.flush()
    state = (await channel.state.get()).entries
    entries = {key: _encoded(entry.value) for key, entry in state.items()}
    sink.add(json_line({"channel": channel.name, "records": records, "last": last, "state": entries}))
    return records


def _fields(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "offset": record.offset,
        "time_ms": record.time_ms,
        "client_id": record.client_id,
        "name": record.name,
        "headers": dict(record.headers),
        **_encoded(record.data),
    }
    if record.ttl_ms:
        fields["ttl_ms"] = record.ttl_ms
    if record.operation is not None:
        fields["operation"] = operation_fields(record.operation)
    return fields


def _encoded(data: Data) -> dict[str, Any]:
    """As HTTP has it: bytes have no place in JSON, and go as base64."""
    if isinstance(data, bytes):
        return {"encoding": "base64", "data": b64encode(data).decode()}
    return {"encoding": "text" if isinstance(data, str) else "json", "data": data}
