"""`outlast status` and `outlast connections`: the broker itself, and who is connected to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import click
from outlast import Client, ConnectionInfo
from outlast_broker.configuration.quantities import show_bytes, show_duration

from .channels import show_time
from .exits import Exit
from .options import broker_options
from .session import run_session
from .terminal import is_terminal, table, visible

_TIME = ("started_ms", "time_ms")
_UNIT = re.compile(r"_(us|ms|bytes)$")


@click.command()
@click.option("--json", "wants_json", is_flag=True, help="One JSON object.")
@broker_options
def status(wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Show what the broker is and does now.

    Counts are since its start. In a pipe: key and value, with a tab between.
    """

    async def job(client: Client) -> int:
        for line in show_status(await client.status(), wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_status(said: Mapping[str, Any], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(said, ensure_ascii=False)]
    if not on_terminal:
        return [f"{key}\t{json.dumps(value) if isinstance(value, bool) else value}" for key, value in said.items()]
    uptime = show_duration((said["time_ms"] - said["started_ms"]) // 1_000 * 1_000)
    cells = {"uptime": uptime} | {_UNIT.sub("", key): _text(key, value) for key, value in said.items()}
    width = max(map(len, cells))
    return [f"{key.ljust(width)}  {text}" for key, text in cells.items()]


def _text(key: str, value: Any) -> str:
    """As a person reads it: what a key's last word says of its unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int):
        return visible(str(value)) or "-"
    if key in _TIME:
        return show_time(value, " ")
    if key.endswith("_us"):
        return f"{value / 1_000:.2f} ms"
    return show_bytes(value) if key.endswith("_bytes") else f"{value:,}"


@click.command()
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def connections(wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List who is connected to the broker, this command too.

    In the order in which they came. In a pipe: id, client, software, door, address, since when, channels,
    subscriptions, those behind, and bytes that wait to be sent, with tabs between.
    """

    async def job(client: Client) -> int:
        rows = [row async for row in client.connections()]
        for line in show_connections(rows, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_connections(rows: list[ConnectionInfo], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(row._asdict(), ensure_ascii=False) for row in rows]
    if on_terminal:
        head = ["id", "client", "software", "door", "address", "since", "channels", "subs", "behind", "waiting"]
        return table(head, [_cells(row, " ") for row in rows], right=[0, 6, 7, 8, 9])
    return ["\t".join([*_cells(row, "T")[:9], str(row.waiting_bytes)]) for row in rows]


def _cells(row: ConnectionInfo, separator: str) -> list[str]:
    counts = [str(count) for count in (row.channels, row.subscriptions, row.behind)]
    who = [str(row.id), visible(row.client_id), visible(row.agent) or "-", row.door, row.address or "-"]
    return [*who, show_time(row.since_ms, separator), *counts, show_bytes(row.waiting_bytes)]
