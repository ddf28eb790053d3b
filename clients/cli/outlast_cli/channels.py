"""`outlast channels`: the channels themselves."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click
from outlast import ChannelInfo, ChannelSummary, Client, Retention
from outlast_broker.configuration.quantities import show_bytes, show_count, show_duration

from .exits import Exit, Failure
from .options import BROKERS_RULE, COUNT_OR_RULE, DURATION_OR_RULE, SIZE_OR_RULE, broker_options
from .session import channel_of, run_session, say
from .start import parse_offset_or_position
from .terminal import is_terminal, table


@click.group()
def channels() -> None:
    """List, inspect, trim, configure and delete channels."""


@channels.command()
@click.argument("prefix", default="")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def ls(prefix: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List the channels whose names begin with PREFIX, or all.

    In a pipe: name, records, bytes and time of the last record, with tabs between.
    """

    async def job(client: Client) -> int:
        try:
            rows = [row async for row in client.channels(prefix=prefix)]
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        for line in show_list(rows, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_list(rows: list[ChannelSummary], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(_summary_fields(row), ensure_ascii=False) for row in rows]
    if on_terminal:
        cells = [[row.name, f"{_records(row):,}", show_bytes(row.bytes), show_time(row.last_ms, " ")] for row in rows]
        return table(["channel", "records", "size", "last"], cells, right=[1, 2])
    return ["\t".join([row.name, str(_records(row)), str(row.bytes), show_time(row.last_ms)]) for row in rows]


def _records(row: ChannelSummary | ChannelInfo) -> int:
    return row.last - row.first + 1


def show_time(time_ms: int, separator: str = "T") -> str:
    """Local time with its zone, `-` where there was none."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    return moment.isoformat(separator, "seconds") if time_ms else "-"


def _summary_fields(row: ChannelSummary) -> dict[str, Any]:
    return {
        "channel": row.name,
        "records": _records(row),
        "first": row.first,
        "last": row.last,
        "position": str(row.position),
        "bytes": row.bytes,
        "last_ms": row.last_ms,
        "subscribers": row.subscribers,
        "members": row.members,
    }


@channels.command()
@click.argument("channel")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object.")
@broker_options
def info(channel: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Show one channel in full."""

    async def job(client: Client) -> int:
        found = await channel_of(client, channel).info()
        click.echo("\n".join(show_info(found, wants_json)))
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_info(found: ChannelInfo, wants_json: bool) -> list[str]:
    if wants_json:
        fields = {**found._asdict(), "epoch": f"{found.epoch:016x}", "retention": found.retention._asdict()}
        return [json.dumps(fields | {"position": str(found.position)}, ensure_ascii=False)]
    cells = {
        "channel": found.name,
        "records": f"{_records(found):,}",
        "offsets": f"{found.first} to {found.last}" if found.last >= found.first else "none",
        "position": str(found.position),
        "size": show_bytes(found.bytes),
        "created": show_time(found.created_ms, " "),
        "last": show_time(found.last_ms, " "),
        "subscribers": f"{found.subscribers:,}",
        "members": f"{found.members:,}",
        "open": show_count(found.messages, "message"),
        "retention": show_retention(found.retention),
    }
    return [f"{name:<12} {text}" for name, text in cells.items()]


def show_retention(rule: Retention) -> str:
    bounds = [
        f"age {show_duration(rule.age_ms)}" if rule.age_ms else "",
        show_count(rule.records, "record") if rule.records else "",
        show_bytes(rule.bytes) if rule.bytes else "",
        f"deleted when idle for {show_duration(rule.idle_ttl_ms)}" if rule.idle_ttl_ms else "",
    ]
    return ", ".join(filter(None, bounds)) or "no bounds"


@channels.command()
@click.argument("names", nargs=-1, required=True, metavar="CHANNEL...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--hard", is_flag=True, help="Return when nothing of them can be read in the broker's file either.")
@broker_options
def rm(names: tuple[str, ...], yes: bool, hard: bool, url: str, connect_timeout_ms: int) -> int:
    """Delete channels with all their records. On a terminal this asks first.

    With --hard the broker then writes its file anew, without what they held; see docs/data.md for what disks may keep.
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)} with all records?", abort=True, err=True)

    async def job(client: Client) -> int:
        for target in [channel_of(client, name) for name in names]:
            await target.delete(hard=hard)
            say(f"deleted {target.name}{', and nothing of it is left in the file' if hard else ''}")
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


@channels.command()
@click.argument("channel")
@click.option("--before", required=True, metavar="OFFSET|POSITION", help="The first record to keep.")
@broker_options
def truncate(channel: str, before: str, url: str, connect_timeout_ms: int) -> int:
    """Forget the records before an offset. Prints the first that is left."""
    try:
        bound = parse_offset_or_position(before)
    except ValueError as error:
        raise click.UsageError(f"--before {error}") from None

    async def job(client: Client) -> int:
        target = channel_of(client, channel)
        if isinstance(bound, str):
            await _check_epoch(target.name, bound, await target.info())
        click.echo(await target.truncate(before=bound))
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


async def _check_epoch(name: str, position: str, found: ChannelInfo) -> None:
    if not position.startswith(f"{found.epoch:016x}:"):
        raise Failure(f"{position} is of an earlier life of {name}, which was deleted and made anew: nothing was done")


@channels.command()
@click.argument("channel")
@click.option("--retain-age", "age_ms", type=DURATION_OR_RULE, help="Forget records that are older.")
@click.option("--retain-records", "records", type=COUNT_OR_RULE, help="Keep so many records.")
@click.option("--retain-bytes", "bytes", type=SIZE_OR_RULE, help="Keep about so many bytes.")
@click.option("--idle-ttl", "idle_ttl_ms", type=DURATION_OR_RULE, help="Delete the channel when unused for so long.")
@broker_options
def configure(channel: str, url: str, connect_timeout_ms: int, **rule: int | str | None) -> int:
    """Change what CHANNEL keeps; prints what is then in force.

    0 is no bound, `default` returns to the broker's rule. What is not given stays as it is.
    """
    changes = {key: None if value == BROKERS_RULE else value for key, value in rule.items() if value is not None}
    if not changes:
        raise click.UsageError("nothing to change: give --retain-age, --retain-records, --retain-bytes or --idle-ttl")

    async def job(client: Client) -> int:
        in_force = await channel_of(client, channel).configure(retention=changes)  # type: ignore[arg-type]
        click.echo(show_retention(in_force))
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)
