"""`outlast attach`: what a channel is now, and what happens to it."""

from __future__ import annotations

from typing import Protocol

import click
from outlast import Attachment, Channel, Client, Resync
from outlast.attachment import Event

from .events import JsonLines, Lines, Paper
from .exits import Exit
from .failures import explain
from .options import broker_options
from .rendering import json_line
from .session import channel_of, run_session, say
from .sink import Sink, while_read
from .start import Start, chosen_start, start_options
from .terminal import is_terminal


class Shown(Protocol):
    """How an attachment is shown."""

    def begin(self, session: Attachment) -> bytes: ...

    def tell(self, event: Event) -> bytes: ...


@click.command(short_help="Show what a channel is now, and text as it grows.")
@click.argument("channel")
@start_options
@click.option("--last", type=click.IntRange(0), metavar="N", help="Start with the last N records and messages.")
@click.option("-n", "count", type=click.IntRange(0), metavar="N", help="Stop after N events.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def attach(
    channel: str, after: str | None, origin: str | None, last: int | None, count: int | None, wants_json: bool,
    url: str, connect_timeout_ms: int,
) -> int:  # fmt: skip
    """Show the state, the members and the open messages of CHANNEL, then what happens to it.

    On a terminal text grows in place. In a pipe each message is one line when it is closed, beside records that do not
    grow; with --json everything is an event. A lost connection comes back by itself, without a gap or a repeat.
    """
    start = chosen_start(after, origin)
    if last is not None:
        if start != Start():
            raise click.UsageError("--last, --after and --from all say where to start: give one of them")
        start = Start(last=last)
    shown: Shown = JsonLines() if wants_json else Paper() if is_terminal() else Lines()

    async def job(client: Client) -> int:
        sink = Sink()
        follower = Follower(channel_of(client, channel), sink, shown, wants_json)
        return await while_read(sink, follower.follow(start, count))

    return run_session(url, connect_timeout_ms, job)


class Follower:
    """Follows one attachment and writes what it gives."""

    def __init__(self, channel: Channel, sink: Sink, shown: Shown, wants_json: bool) -> None:
        self._channel = channel
        self._sink = sink
        self._shown = shown
        self._wants_json = wants_json

    async def follow(self, start: Start, most: int | None) -> int:
        """Returns the exit code after `most` events."""
        async with self._channel.attach(**start._asdict()) as session:
            self._sink.add(self._shown.begin(session))
            await self._sink.flush()
            told = 0
            try:
                while most is None or told < most:
                    told += await self._next(session)
            finally:
                await self._sink.flush()
        return Exit.OK

    async def _next(self, session: Attachment) -> bool:
        """Whether there was one; else the channel goes on elsewhere, and is shown anew."""
        try:
            event = await anext(session)
        except Resync as resync:
            say(explain(resync))
            if self._wants_json:
                position = None if resync.position is None else str(resync.position)
                self._sink.add(json_line({"event": "resync", "reason": resync.reason, "position": position}))
            if resync.position is not None:
                self._sink.add(self._shown.begin(session))
            return False
        self._sink.add(self._shown.tell(event))
        if self._sink.is_full or not session.buffered:
            await self._sink.flush()
        return True
