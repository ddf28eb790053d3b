"""`outlast pub`: one record, or one a line."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import click
from outlast import Ack, BufferFull, Channel, Client, Data, Lease, OutlastError
from outlast_broker.configuration.quantities import show_count

from . import ephemeral
from .background import in_background
from .exits import Exit, Failure
from .failures import explain
from .growing import STDIN, write
from .lines import LINE_BYTES_MAX, Lines
from .options import DURATION, broker_options
from .session import channel_of, run_session, say
from .terminal import is_terminal, table

CHUNK_BYTES = 65_536
# So many refusals are told one by one; the summary counts all.
REFUSALS_TOLD = 10
Task = Callable[[Client, Channel | Lease], Awaitable[int]]
FORMATS = ("auto", "table", "plain", "json")


@click.command(short_help="Publish a record, or every line of standard input.")
@click.argument("channel")
@click.argument("data")
@click.option("--json", "is_json", is_flag=True, help="DATA, or each line, is JSON.")
@click.option("--name", help="The records' name, such as token or tool_call.")
@click.option("--message", "message_name", metavar="NAME", help="One message that grows: standard input as it comes, "
              "closed at its end.")  # fmt: skip
@click.option("--header", "header_texts", multiple=True, metavar="KEY=VALUE", help="A header. Repeat it for more.")
@click.option("--if-offset", type=click.IntRange(0), metavar="N", help="Only if N is the channel's last offset.")
@click.option("--lease", "lease_name", metavar="NAME", help="Only while nobody else has this lease.")
@click.option("--lease-ttl", "lease_ms", type=DURATION, default="10s", show_default=True, help="How long after the end "
              "of this process, should it be killed, the lease lapses.")  # fmt: skip
@click.option(
    "--ttl", "ttl_ms", type=DURATION, default="0", help="After so long nobody is given it any more. 0: never."
)
@click.option("--ephemeral", "is_ephemeral", is_flag=True, help="Tell it to those who read now, and store nothing.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="auto", help="How the ack is printed. "
              "auto: a table on a terminal, EPOCH:OFFSET in a pipe.")  # fmt: skip
@broker_options
def pub(
    channel: str, data: str, is_json: bool, name: str | None, header_texts: Sequence[str], if_offset: int | None,
    lease_name: str | None, lease_ms: int, ttl_ms: int, is_ephemeral: bool, message_name: str | None, form: str,
    url: str, connect_timeout_ms: int,
) -> int:  # fmt: skip
    """Publish DATA to CHANNEL; with - as DATA, every line of standard input.

    Returns when everything is on disk. A single record's ack is printed: its position, and whether the
    broker had it already. For standard input a summary goes to standard error, and the exit code is 1 if
    any line was refused. Text that begins with a dash goes behind --.

    With --message DATA, or with - all of standard input, is one message that grows while it comes, for readers to
    see. At the end it is closed as complete, and by Ctrl-C as cancelled; the position of its opening is printed.
    """
    if message_name is not None and (name is not None or is_json or is_ephemeral or if_offset is not None or ttl_ms):
        raise click.UsageError(
            "--message names one text that is kept: leave out --name, --json, --ephemeral, --if-offset and --ttl"
        )
    labels: dict[str, Any] = {"name": name, "headers": parse_headers(header_texts) or None}
    if is_ephemeral:
        if data == "-" or if_offset is not None or ttl_ms:
            raise click.UsageError("--ephemeral is for one message that is not stored: leave out -, --if-offset, --ttl")
        message = parse_data(data, is_json)
        return run_session(
            url, connect_timeout_ms, lambda client: ephemeral.tell(channel_of(client, channel), message, labels)
        )
    if ttl_ms:
        labels["ttl"] = ttl_ms / 1000
    task: Task
    if message_name is not None:
        task = partial(write, labels=labels | {"name": message_name}, source=STDIN if data == "-" else data)
    elif data == "-":
        if if_offset is not None:
            raise click.UsageError("--if-offset is for a single record, not for standard input")
        task = partial(_publish_lines, is_json=is_json, labels=labels)
    else:
        task = partial(
            _publish_one, value=parse_data(data, is_json), labels=labels | {"if_offset": if_offset}, form=form
        )

    async def job(client: Client) -> int:
        target = channel_of(client, channel)
        if lease_name is None:
            return await task(client, target)
        async with _lease(target, lease_name, lease_ms) as lease:
            return await task(client, lease)

    return run_session(url, connect_timeout_ms, job)


def _lease(target: Channel, name: str, lease_ms: int) -> Lease:
    try:
        return target.lease(name, ttl=lease_ms / 1000)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


async def _publish_one(client: Client, target: Channel | Lease, value: Data, labels: dict[str, Any], form: str) -> int:
    ack = await _checked(lambda: target.publish(value, **labels))
    click.echo("\n".join(show_ack(ack, form, is_terminal())))
    return Exit.OK


async def _checked(publish: Callable[[], Any]) -> Ack:
    """What the client finds wrong with the arguments is the command line's fault."""
    try:
        ack: Ack = await publish()
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    return ack


def parse_headers(texts: Sequence[str]) -> dict[str, str]:
    """Raises UsageError for what is not KEY=VALUE."""
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"--header {text!r} is no KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def parse_data(text: str, is_json: bool) -> Data:
    """Raises UsageError for what is not JSON."""
    if not is_json:
        return text
    try:
        value: Data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"DATA is not JSON: {error}") from None
    return value


def show_ack(ack: Ack, form: str, on_terminal: bool) -> list[str]:
    if form == "json":
        return [json.dumps({"offset": ack.offset, "position": str(ack.position), "duplicate": ack.duplicate})]
    if form == "plain" or (form == "auto" and not on_terminal):
        return [str(ack.position)]
    cells = [str(ack.offset), str(ack.position), "yes" if ack.duplicate else "no"]
    return table(["offset", "position", "duplicate"], [cells], right=[0])


# --- standard input -----------------------------------------------------------------------------------------


async def _publish_lines(client: Client, target: Channel | Lease, is_json: bool, labels: dict[str, Any]) -> int:
    run = LineRun(target, is_json, labels)
    try:
        await run.publish_from(STDIN)
    except OSError as error:
        raise Failure(f"standard input cannot be read: {error}") from None
    finally:
        await (target.release() if isinstance(target, Lease) else client.close())
        say(run.summary())
    return Exit.REFUSED if run.refused else Exit.OK


class LineRun:
    """Publishes lines without waiting for each ack; what is on its way is bounded by the client's buffer."""

    def __init__(self, target: Channel | Lease, is_json: bool, labels: dict[str, Any]) -> None:
        self._target = target
        self._is_json = is_json
        self._labels = labels
        self._number = 0
        self._latest: asyncio.Future[Ack] | None = None
        self.published = 0
        self.refused = 0
        self.last: Ack | None = None

    async def publish_from(self, descriptor: int) -> None:
        """Returns when the last line is settled. Raises OSError."""
        lines = Lines()
        while chunk := await in_background(lambda: os.read(descriptor, CHUNK_BYTES)):
            for line in lines.feed(chunk):
                await self._publish(line)
        for line in lines.end():
            await self._publish(line)
        await self._settle_all()

    def summary(self) -> str:
        refused = f", refused {show_count(self.refused)}" if self.refused else ""
        last = f", last {self.last.position}" if self.last else ""
        return f"published {show_count(self.published)}{refused}{last}"

    async def _publish(self, line: bytes | None) -> None:
        self._number += 1
        if self._is_json and line is not None and not line.strip():
            return
        try:
            await self._offer(line_data(line, self._is_json))
        except (ValueError, TypeError, OutlastError) as error:
            self._refuse(self._number, error)

    async def _offer(self, data: Data) -> None:
        try:
            future = self._target.publish_nowait(data, **self._labels)
        except BufferFull:
            await self._settle_all()
            future = self._target.publish_nowait(data, **self._labels)
        future.add_done_callback(partial(self._settled, self._number))
        self._latest = future

    async def _settle_all(self) -> None:
        """Acks come in the order of publishing: the latest one is the last."""
        if self._latest is not None:
            await asyncio.wait({self._latest})

    def _settled(self, number: int, future: asyncio.Future[Ack]) -> None:
        error = future.exception()
        if error is None:
            self.published += 1
            self.last = future.result()
        else:
            self._refuse(number, error)

    def _refuse(self, number: int, error: BaseException) -> None:
        self.refused += 1
        if self.refused <= REFUSALS_TOLD:
            say(f"line {number}: {explain(error) if isinstance(error, OutlastError) else error}")


def line_data(line: bytes | None, is_json: bool) -> Data:
    """JSON where asked for, else text; what is not UTF-8 stays bytes. Raises ValueError."""
    if line is None:
        raise ValueError(f"longer than {show_count(LINE_BYTES_MAX, 'byte')}: split it")
    if is_json:
        try:
            value: Data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"no JSON: {error}") from None
        return value
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line
