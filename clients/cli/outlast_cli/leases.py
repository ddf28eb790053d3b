"""`outlast leases`: who may write to a channel under a lease, and for how long."""

from __future__ import annotations

import json
from typing import Any

import click
from outlast import Client, LeaseInfo
from outlast_broker.configuration.quantities import show_duration

from .exits import Exit
from .options import broker_options
from .session import channel_of, run_session
from .terminal import is_terminal, table


@click.command()
@click.argument("channel")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def leases(channel: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List the leases of CHANNEL that are held.

    `outlast pub --lease` takes one.

    In a pipe: name, holder, token, its time and what is left of it in ms, with tabs between.
    """

    async def job(client: Client) -> int:
        rows = [row async for row in channel_of(client, channel).leases()]
        for line in show_leases(rows, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_leases(rows: list[LeaseInfo], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(_fields(row), ensure_ascii=False) for row in rows]
    if on_terminal:
        cells = [
            [row.name, row.holder, str(row.token), show_duration(row.ttl_ms), show_duration(row.left_ms)]
            for row in rows
        ]
        return table(["lease", "holder", "token", "ttl", "left"], cells, right=[2, 3, 4])
    return ["\t".join(map(str, row)) for row in rows]


def _fields(row: LeaseInfo) -> dict[str, Any]:
    fields = row._asdict()
    return {"lease": fields.pop("name"), **fields}
