"""`outlast history`: what a channel holds now."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click
from outlast import Client, Record

from .exits import Exit
from .options import broker_options
from .rendering import Render, choose_render
from .session import channel_of, run_session
from .sink import Sink, while_read
from .start import chosen_start, parse_offset_or_position, start_options
from .terminal import is_terminal


@click.command(short_help="Print what a channel holds now.")
@click.argument("channel")
@start_options
@click.option("--before", metavar="OFFSET|POSITION", help="Only what lies before this record.")
@click.option("--reverse", "backwards", is_flag=True, help="The newest first; not together with a start.")
@click.option("-n", "count", type=click.IntRange(0), metavar="N", help="At most N records.")
@click.option("--raw", is_flag=True, help="Growing messages operation by operation, not each as one record.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def history(
    channel: str, after: str | None, origin: str | None, before: str | None, backwards: bool, count: int | None,
    raw: bool, wants_json: bool, url: str, connect_timeout_ms: int,
) -> int:  # fmt: skip
    """Print what CHANNEL holds now, from the earliest record or from where you say, and end.

    A message that grew is one record, whole, where its latest operation is.
    """
    start = chosen_start(after, origin)
    bound = _parse_before(before)
    render = choose_render(wants_json, is_terminal())

    async def job(client: Client) -> int:
        target, sink = channel_of(client, channel), Sink()
        try:
            records = target.history(**start._asdict(), before=bound, backwards=backwards, limit=count, raw=raw)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return await while_read(sink, _print(records, sink, render))

    if start.start == "latest":
        raise click.UsageError("--from latest is for `outlast sub`: history ends where that begins")
    if backwards and any(value is not None for value in start):
        raise click.UsageError("--reverse goes down from --before or from the end: leave out --after and --from")
    return run_session(url, connect_timeout_ms, job)


def _parse_before(text: str | None) -> int | str | None:
    try:
        return None if text is None else parse_offset_or_position(text)
    except ValueError as error:
        raise click.UsageError(f"--before {error}") from None


async def _print(records: AsyncIterator[Record], sink: Sink, render: Render) -> int:
    try:
        async for record in records:
            sink.add(render(record))
            if sink.is_full:
                await sink.flush()
    finally:
        await sink.flush()
    return Exit.OK
