"""`outlast cursors`: how far the readers of a channel have got."""

from __future__ import annotations

import json
from typing import Any

import click
from outlast import Client, Cursor

from .channels import show_time
from .exits import Exit
from .options import broker_options
from .session import channel_of, run_session, say
from .terminal import is_terminal, table


@click.group()
def cursors() -> None:
    """List and forget the cursors of a channel.

    `outlast sub --cursor` makes them."""


@cursors.command()
@click.argument("channel")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def ls(channel: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List the cursors of CHANNEL.

    In a pipe: name, offset, records beyond it and when it last moved, with tabs between.
    """

    async def job(client: Client) -> int:
        rows = [row async for row in channel_of(client, channel).cursors()]
        for line in show_cursors(rows, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_cursors(rows: list[Cursor], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(_fields(row), ensure_ascii=False) for row in rows]
    if on_terminal:
        cells = [[row.name, f"{row.offset:,}", f"{row.lag:,}", show_time(_acked_ms(row), " ")] for row in rows]
        return table(["cursor", "offset", "lag", "acked"], cells, right=[1, 2])
    return ["\t".join([row.name, str(row.offset), str(row.lag), show_time(_acked_ms(row))]) for row in rows]


def _acked_ms(row: Cursor) -> int:
    return round(row.acked.timestamp() * 1000)


def _fields(row: Cursor) -> dict[str, Any]:
    return {"cursor": row.name, "offset": row.offset, "lag": row.lag, "acked_ms": _acked_ms(row)}


@cursors.command()
@click.argument("channel")
@click.argument("name")
@broker_options
def rm(channel: str, name: str, url: str, connect_timeout_ms: int) -> int:
    """Forget the cursor NAME of CHANNEL: who reads by it next begins anew."""

    async def job(client: Client) -> int:
        try:
            offset = await channel_of(client, channel).forget_cursor(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        say(f"forgot {name}, which stood at {offset}")
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)
