"""`outlast state`: the keys and values of a channel."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import click
from outlast import Ack, Client, Data, Resync, SharedState, StateChanged, StateEntry, StateSnapshot, StateWatch

from .channels import show_time
from .exits import Exit, Failure
from .failures import explain
from .options import broker_options
from .pub import parse_data
from .rendering import json_data, json_line
from .session import channel_of, run_session, say
from .sink import Sink, while_read
from .terminal import is_terminal, table, visible

VALUE_LETTERS_SHOWN = 60


class WithList(click.Group):
    """After the channel's name comes a command; without one it is `ls`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and not args[0].startswith("-")
        if named and args[1:] and args[1] in ctx.help_option_names:
            args = args[1:]
        elif named and (not args[1:] or args[1].startswith("-")):
            args = [args[0], "ls", *args[1:]]
        return super().parse_args(ctx, args)


@click.group(cls=WithList)
@click.argument("channel")
@click.pass_context
def state(ctx: click.Context, channel: str) -> None:
    """Read and change the shared state of CHANNEL.

    Without a command, list it."""
    ctx.obj = channel


@state.command()
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
@click.pass_obj
def ls(channel: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """List keys and values.

    In a pipe: key, version, value and when it was written, with tabs between.
    """

    async def job(client: Client) -> int:
        for line in show_state(await channel_of(client, channel).state.get(), wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def show_state(found: StateSnapshot, wants_json: bool, on_terminal: bool) -> list[str]:
    rows = found.entries.items()
    if wants_json:
        return [json.dumps(_fields(key, entry), ensure_ascii=False) for key, entry in rows]
    if on_terminal:
        cells = [
            [visible(key), f"{entry.version:,}", _short(entry.value), visible(entry.client_id), _time(entry, " ")]
            for key, entry in rows
        ]
        return table(["key", "version", "value", "client", "written"], cells, right=[1])
    return ["\t".join([key, str(entry.version), one_line(entry.value), _time(entry)]) for key, entry in rows]


def one_line(value: Data) -> str:
    """Text as it is if it has one line, everything else as JSON."""
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(json_data(value), ensure_ascii=False)


def _short(value: Data) -> str:
    text = visible(one_line(value))
    return text if len(text) <= VALUE_LETTERS_SHOWN else text[: VALUE_LETTERS_SHOWN - 3] + "..."


def _time(entry: StateEntry, separator: str = "T") -> str:
    return show_time(entry.time_ms, separator)


def _fields(key: str, entry: StateEntry) -> dict[str, Any]:
    fields = {"key": key, "value": json_data(entry.value), "version": entry.version}
    return fields | {"client_id": entry.client_id, "time_ms": entry.time_ms}


@state.command()
@click.argument("key")
@click.option("--json", "wants_json", is_flag=True, help="As a JSON object, with its version.")
@broker_options
@click.pass_obj
def get(channel: str, key: str, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Print the value of KEY: text and bytes as they are, JSON in one line."""

    async def job(client: Client) -> int:
        entry = (await channel_of(client, channel).state.get()).entries.get(key)
        if entry is None:
            raise Failure(f"there is no key {key!r} in {channel}: `outlast state {channel}` lists them")
        if wants_json:
            click.echo(json_line(_fields(key, entry)), nl=False)
        else:
            click.echo(entry.value if isinstance(entry.value, str | bytes) else json_line(entry.value).rstrip(b"\n"))
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


# --- changing ---------------------------------------------------------------------------------------------


def version_option(verb: Callable[..., int]) -> Callable[..., int]:
    text = "Only if N is the key's version; 0: only if there is no such key."
    return click.option("--if-version", "version", type=click.IntRange(0), metavar="N", help=text)(verb)


@state.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--json", "is_json", is_flag=True, help="VALUE is JSON.")
@version_option
@broker_options
@click.pass_obj
def set_value(
    channel: str, key: str, value: str, is_json: bool, version: int | None, url: str, connect_timeout_ms: int
) -> int:
    """Set KEY to VALUE; prints the key's new version. Text that begins with a dash goes behind --."""
    data = parse_data(value, is_json)
    return _write(channel, url, connect_timeout_ms, lambda state: state.set(key, data, version))


@state.command()
@click.argument("key")
@version_option
@broker_options
@click.pass_obj
def delete(channel: str, key: str, version: int | None, url: str, connect_timeout_ms: int) -> int:
    """Delete KEY, if it is there; prints the version as of which it is gone."""
    return _write(channel, url, connect_timeout_ms, lambda state: state.delete(key, version))


@state.command(context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("by", type=int, default=1)
@broker_options
@click.pass_obj
def increment(channel: str, key: str, by: int, url: str, connect_timeout_ms: int) -> int:
    """Add BY (1) to the number that KEY holds; prints its new version."""
    return _write(channel, url, connect_timeout_ms, lambda state: state.increment(key, by))


def _write(channel: str, url: str, connect_timeout_ms: int, write: Callable[[SharedState], Awaitable[Ack]]) -> int:
    async def job(client: Client) -> int:
        try:
            ack = await write(channel_of(client, channel).state)
        except (ValueError, TypeError) as error:
            raise click.UsageError(str(error)) from None
        click.echo(ack.offset)
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


# --- watching ---------------------------------------------------------------------------------------------


@state.command()
@click.option("-n", "count", type=click.IntRange(0), metavar="N", help="Stop after N lines.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
@click.pass_obj
def watch(channel: str, count: int | None, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Print what is there, then every change as it comes.

    A line has version, key and value, with tabs between; of a key that was deleted it has no value. A lost connection
    comes back by itself.
    """

    async def job(client: Client) -> int:
        sink = Sink()
        target = channel_of(client, channel).state
        return await while_read(sink, _follow(target, sink, count, wants_json))

    return run_session(url, connect_timeout_ms, job)


async def _follow(target: SharedState, sink: Sink, count: int | None, wants_json: bool) -> int:
    left = count
    async with target.watch() as changes:
        held = sorted(changes.entries.items(), key=lambda item: item[1].version)
        present = [StateChanged(key, *entry[:3], False, entry.time_ms) for key, entry in held]
        while left is None or left > 0:
            change = present.pop(0) if present else await _next(changes)
            if change is not None:
                sink.add(show_change(change, wants_json))
                left = None if left is None else left - 1
                await sink.flush()
    return Exit.OK


async def _next(changes: StateWatch) -> StateChanged | None:
    try:
        return await anext(changes)
    except Resync as resync:
        say(explain(resync))
        return None


def show_change(change: StateChanged, wants_json: bool) -> bytes:
    if not wants_json:
        cells = [str(change.version), change.key, *([] if change.deleted else [one_line(change.value)])]
        return "\t".join(cells).encode("utf-8", "backslashreplace") + b"\n"
    if change.entry is None:
        return json_line({"key": change.key, "deleted": True, "version": change.version, "client_id": change.client_id})
    return json_line(_fields(change.key, change.entry))
