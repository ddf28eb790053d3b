"""`outlast import`: what `outlast export` wrote becomes channels again."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import click
from outlast import Channel, Client, Data, Message, NotANumber, Set, UnknownChannel

from .background import in_background
from .exits import Exit, Failure
from .options import broker_options
from .session import channel_of, run_session, say

# Records that go in one publish: so many, and about so many bytes.
BATCH_RECORDS = 500
BATCH_BYTES = 256 << 10
# A message begins with so much, and grows by as much at a time.
PIECE_CHARACTERS = 128 << 10
_SKIPPED_OPS = frozenset({"close", "remove", "reopen", "lapsed"})


@click.command("import", short_help="Publish what `outlast export` wrote.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), default="-")
@click.option("--into", metavar="CHANNEL", help="The channel to publish to, for a file that has one.")
@click.option("--stamp", is_flag=True, help="Say in headers what each record's offset, time and client were.")
@broker_options
def import_channels(file: Path, into: str | None, stamp: bool, url: str, connect_timeout_ms: int) -> int:
    """Publish the records in FILE, or standard input, to channels of their names that are empty or do not exist.

    Data, names, headers and order are kept, and at the end the state. The broker gives new offsets and times, and the
    client is this one: with --stamp headers say what they were. What has a time to live keeps what is left of
    it. Messages are closed as they were; those that were open or interrupted as `error`.
    """
    source = click.open_file(str(file), "rb")

    async def job(client: Client) -> int:
        run = ImportRun(client, into, stamp, time.time_ns() // 1_000_000)
        async for number, fields in _lines(source):
            await run.take(number, fields)
        return run.end()

    return run_session(url, connect_timeout_ms, job)


async def _lines(source: IO[bytes]) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    number = 0
    while lines := await in_background(lambda: source.readlines(PIECE_CHARACTERS)):
        for line in lines:
            number += 1
            if line.strip():
                yield number, _parsed(number, line)


def _parsed(number: int, line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict) or not isinstance(fields.get("channel"), str):
            raise ValueError("it names no channel")
    except (ValueError, RecursionError) as error:
        raise Failure(f"line {number} is not what `outlast export` writes: {error}") from None
    return fields


class ImportRun:
    """Takes the lines in order; what goes by itself waits for a batch, and everything else comes behind it."""

    def __init__(self, client: Client, into: str | None, stamp: bool, now_ms: int) -> None:
        self._client = client
        self._into = into
        self._stamp = stamp
        self._now_ms = now_ms
        self._name: str | None = None
        self._channel: Channel
        self._batch: list[Message] = []
        self._batch_bytes = 0
        self.records = self.skipped = self.channels = 0

    async def take(self, number: int, fields: dict[str, Any]) -> None:
        try:
            if fields["channel"] != self._name:
                await self._begin(fields["channel"])
            if "state" in fields:
                await self._end_channel(fields["state"])
            else:
                await self._record(fields, len(json.dumps(fields["data"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Failure(f"line {number} is not what `outlast export` writes: {error!r}") from None

    def end(self) -> int:
        skipped = f", {self.skipped:,} skipped that are over or only changed what is not there" if self.skipped else ""
        say(f"imported {self.records:,} records into {self.channels:,} channels{skipped}")
        if self._name is not None:
            raise Failure(f"the file ends in the middle of channel {self._name!r}: what was there is imported")
        return Exit.OK

    async def _begin(self, name: str) -> None:
        if self._name is not None or (self._into is not None and self.channels):
            raise Failure(f"channel {name!r} begins before the one before it has ended, or --into names one for two")
        self._channel = channel_of(self._client, self._into or name)
        try:
            last = (await self._channel.info()).last
        except UnknownChannel:
            last = 0
        if last:
            raise Failure(f"channel {self._channel.name!r} has records already: delete it, or give --into another name")
        self._name = name
        self.channels += 1

    async def _record(self, fields: dict[str, Any], size: int) -> None:
        operation = fields.get("operation") or {}
        op = operation.get("op")
        ttl = _ttl_left(fields, self._now_ms)
        if op in _SKIPPED_OPS or operation.get("state") == "removed" or ttl == 0:
            self.skipped += 1
            return
        self.records += 1
        if op in (None, "append", "replace"):
            self._batch.append(Message(_decoded(fields), fields["name"], self._headers(fields), ttl))
            self._batch_bytes += size
            if len(self._batch) >= BATCH_RECORDS or self._batch_bytes >= BATCH_BYTES:
                await self._flush()
            return
        await self._flush()
        if op in ("open", "folded"):
            await self._message(fields, operation)
        else:
            await self._change_state(fields, operation)

    def _headers(self, fields: dict[str, Any]) -> dict[str, str]:
        origin = {f"origin-{key.replace('_', '-')}": str(fields[key]) for key in ("offset", "time_ms", "client_id")}
        return {**fields["headers"], **(origin if self._stamp else {})}

    async def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch:
            await self._channel.publish_many(batch)

    async def _message(self, fields: dict[str, Any], operation: dict[str, Any]) -> None:
        content, state = _decoded(fields), operation.get("state", "open")
        if not isinstance(content, str | bytes):
            raise ValueError("a message is bytes or text")
        headers = self._headers(fields)
        message = self._channel.message(name=fields["name"], headers=headers, data=content[:PIECE_CHARACTERS])
        async with message:
            for start in range(PIECE_CHARACTERS, len(content), PIECE_CHARACTERS):
                await message.append(content[start : start + PIECE_CHARACTERS])
            reason = operation.get("reason", "")
            if state == "cancelled":
                await message.cancel(reason)
            elif state != "complete":
                await message.fail(reason or f"{state} when it was exported")

    async def _change_state(self, fields: dict[str, Any], operation: dict[str, Any]) -> None:
        state, key = self._channel.state, operation["key"]
        if operation["op"] == "set":
            await state.set(key, _decoded(fields))
        elif operation["op"] == "unset":
            await state.delete(key)
        else:
            try:
                await state.increment(key, operation.get("by", 0))
            except NotANumber:
                self.skipped += 1

    async def _end_channel(self, state: dict[str, Any]) -> None:
        """What retention took of the operations is made up for: the state is as it was."""
        await self._flush()
        wanted = {key: _decoded(each) for key, each in state.items()}
        entries = (await self._channel.state.get()).entries if wanted or self.records else {}
        for key in entries.keys() - wanted.keys():
            await self._channel.state.delete(key)
        changed = [
            Set(key, value) for key, value in wanted.items() if key not in entries or entries[key].value != value
        ]
        for change in changed:
            await self._channel.state.update([change])
        self._name = None


def _ttl_left(fields: dict[str, Any], now_ms: int) -> float | None:
    """In seconds; None: for ever."""
    ttl_ms: int = fields.get("ttl_ms", 0)
    return max(fields["time_ms"] + ttl_ms - now_ms, 0) / 1_000 if ttl_ms else None


def _decoded(fields: dict[str, Any]) -> Data:
    data: Data = fields["data"]
    if fields["encoding"] == "base64" and isinstance(data, str):
        return b64decode(data, validate=True)
    return data
