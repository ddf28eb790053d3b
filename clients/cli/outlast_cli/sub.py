"""`outlast sub`: records as they come."""

from __future__ import annotations

from typing import NamedTuple

import click
from outlast import Channel, Client, Record, Resync, Subscription
from outlast.cursor import check_cursor_name

from . import ephemeral
from .exits import Exit
from .failures import explain
from .options import broker_options
from .rendering import Render, choose_render, json_line
from .session import channel_of, run_session, say
from .sink import Sink, while_read
from .start import Start, chosen_start, start_options
from .terminal import is_terminal


class Ending(NamedTuple):
    """When to stop by itself: after `most` records, at the channel's present end, at a resync."""

    most: int | None
    at_end: bool
    at_resync: bool


@click.command(short_help="Read a channel, and go on as more comes.")
@click.argument("channel")
@start_options
@click.option("--cursor", metavar="NAME", help="Go on where NAME has got to, and move it.")
@click.option("--ephemeral", "is_ephemeral", is_flag=True, help="Only what is told now and not stored, from now on.")
@click.option("-n", "count", type=click.IntRange(0), metavar="N", help="Stop after N records.")
@click.option("--exit-at-end", "at_end", is_flag=True, help="Stop at what is the channel's last record now.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@click.option("--fail-on-resync", "at_resync", is_flag=True, help="Stop with exit code 4 when records were skipped.")
@broker_options
def sub(
    channel: str, after: str | None, origin: str | None, cursor: str | None, count: int | None, at_end: bool,
    is_ephemeral: bool,
    wants_json: bool, at_resync: bool, url: str, connect_timeout_ms: int,
) -> int:  # fmt: skip
    """Read CHANNEL, from what comes next or from where you say, and go on as more comes.

    A lost connection comes back by itself, without a gap or a repeat. On a terminal records are shown in
    columns, in a pipe as their data, one a line. When records had to be skipped (retention, a deleted
    channel), that is said on standard error and, with --json, as {"resync": REASON, "position": ...}.

    With --cursor the broker keeps the place: reading begins after what was written out under that name
    before, wherever that was. Where to start is then said for the first time only, and is `earliest` by default.
    After a crash the last records may come again; none is left out.

    Messages that grow come operation by operation; `outlast attach` puts them together.
    """
    start = chosen_start(after, origin)
    if cursor is not None:
        check_cursor(cursor)
    if is_ephemeral:
        if start != Start() or cursor is not None or at_end or at_resync:
            raise click.UsageError("--ephemeral reads what is not in the log: it goes with -n and --json only")
        return run_session(url, connect_timeout_ms, lambda client: _overhear(client, channel, wants_json, count))
    render = choose_render(wants_json, is_terminal())
    ending = Ending(count, at_end, at_resync)

    async def job(client: Client) -> int:
        sink = Sink()
        reader = Reader(channel_of(client, channel), sink, render, ending, wants_json=wants_json, cursor=cursor)
        return await while_read(sink, reader.read(start))

    return run_session(url, connect_timeout_ms, job)


async def _overhear(client: Client, channel: str, wants_json: bool, count: int | None) -> int:
    sink = Sink()
    render = ephemeral.choose_render(wants_json, is_terminal())
    return await while_read(sink, ephemeral.overhear(channel_of(client, channel), sink, render, count))


def check_cursor(name: str) -> None:
    """Raises UsageError for a name that no cursor can have."""
    try:
        check_cursor_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


class Reader:
    """Follows one subscription and writes what it gives."""

    def __init__(
        self, channel: Channel, sink: Sink, render: Render, ending: Ending, *, wants_json: bool, cursor: str | None
    ) -> None:
        self._cursor = cursor
        self._unacknowledged: Record | None = None
        self._channel = channel
        self._sink = sink
        self._render = render
        self._ending = ending
        self._wants_json = wants_json

    async def read(self, start: Start) -> int:
        """Returns the exit code when an ending is reached."""
        async with self._channel.subscribe(**start._asdict(), cursor=self._cursor, ack="manual") as records:
            if self._ending.at_end:
                records.until = (await self._channel.info()).position
            try:
                return await self._follow(records)
            finally:
                await self._flush()

    async def _follow(self, records: Subscription) -> int:
        written = 0
        while self._ending.most is None or written < self._ending.most:
            try:
                record = await anext(records)
            except Resync as resync:
                self._tell(resync)
                if self._ending.at_resync:
                    return Exit.RESYNC
                if self._ending.at_end and resync.position is None:
                    return Exit.OK
            except StopAsyncIteration:
                break
            else:
                written += 1
                await self._write(record, records.buffered)
        return Exit.OK

    async def _write(self, record: Record, waiting: int) -> None:
        """What has come is written together; nothing waits in here for more to come."""
        self._sink.add(self._render(record))
        self._unacknowledged = record
        if self._sink.is_full or not waiting:
            await self._flush()

    async def _flush(self) -> None:
        """What is written out is acknowledged, and nothing before it is."""
        await self._sink.flush()
        record, self._unacknowledged = self._unacknowledged, None
        if self._cursor is not None and record is not None:
            record.ack()

    def _tell(self, resync: Resync) -> None:
        say(explain(resync))
        if self._wants_json:
            position = None if resync.position is None else str(resync.position)
            self._sink.add(json_line({"resync": resync.reason, "position": position}))
