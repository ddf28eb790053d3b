"""`outlast claims`: what was claimed in a channel, by whom, and whether it is done."""

from __future__ import annotations

import json
from typing import Any

import click
from outlast import ClaimSummary, Client

from .channels import show_time
from .exits import Exit
from .options import broker_options
from .session import channel_of, run_session
from .terminal import is_terminal, table


@click.command()
@click.argument("channel")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def claims(channel: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List the claims of CHANNEL: what was to be done once.

    In a pipe: key, status (in_progress, done or free), attempts, who was granted it last, and since when it has this
    status, with tabs between. A free one was tried and not finished: the next may.
    """

    async def job(client: Client) -> int:
        rows = [row async for row in channel_of(client, channel).claims()]
        for line in show_claims(rows, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_claims(rows: list[ClaimSummary], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(_fields(row), ensure_ascii=False) for row in rows]
    if on_terminal:
        cells = [[row.key, row.status, f"{row.attempt:,}", row.holder, show_time(_since_ms(row), " ")] for row in rows]
        return table(["claim", "status", "attempts", "holder", "since"], cells, right=[2])
    return ["\t".join([row.key, row.status, str(row.attempt), row.holder, show_time(_since_ms(row))]) for row in rows]


def _since_ms(row: ClaimSummary) -> int:
    return round(row.time.timestamp() * 1000)


def _fields(row: ClaimSummary) -> dict[str, Any]:
    return {
        "key": row.key,
        "status": row.status,
        "attempt": row.attempt,
        "holder": row.holder,
        "time_ms": _since_ms(row),
    }
