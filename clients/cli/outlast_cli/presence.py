"""`outlast presence`: who is in a channel."""

from __future__ import annotations

import json
from typing import Any

import click
from outlast import Client, Member, MemberChanged, PresenceEvent, PresenceSnapshot, PresenceWatch

from .channels import show_time
from .exits import Exit
from .options import broker_options
from .rendering import json_data, json_line
from .session import channel_of, run_session
from .sink import Sink, while_read
from .terminal import is_terminal, table, visible


@click.command(short_help="Show who is in a channel.")
@click.argument("channel")
@click.option("--watch", "watches", is_flag=True, help="Go on, and show who comes, changes and goes.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def presence(channel: str, watches: bool, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Show the members of CHANNEL: those who are present, and those who are away, because their connection was lost.

    In a pipe: client, member, status, since when, and data as JSON, with tabs between. With --watch a line for each
    who is there, then one for each change; and `occupied` when somebody has come, `vacated` when all have left. After
    a lost connection it begins again with those who are there.
    """

    async def show(client: Client) -> int:
        found = await channel_of(client, channel).presence.members()
        for line in show_members(found, wants_json, is_terminal()):
            click.echo(line)
        return Exit.OK

    async def follow(client: Client) -> int:
        sink = Sink()
        async with channel_of(client, channel).presence.watch() as watch:
            return await while_read(sink, _follow(watch, sink, wants_json))

    return run_session(url, connect_timeout_ms, follow if watches else show)


async def _follow(watch: PresenceWatch, sink: Sink, wants_json: bool) -> int:
    async for event in watch:
        sink.add(event_json(event) if wants_json else event_lines(event))
        await sink.flush()
    return Exit.OK


def show_members(members: list[Member], wants_json: bool, on_terminal: bool) -> list[str]:
    if wants_json:
        return [json.dumps(_fields(member), ensure_ascii=False) for member in members]
    if on_terminal:
        cells = [
            [visible(member.client_id), member.status, show_time(_since_ms(member), " "), visible(_data(member))]
            for member in members
        ]
        return table(["client", "status", "since", "data"], cells)
    return [_line(member) for member in members]


def event_lines(event: PresenceEvent) -> bytes:
    """A line for each member that it tells of, else one word."""
    if isinstance(event, PresenceSnapshot):
        lines = [_line(member) for member in event.members]
    elif isinstance(event, MemberChanged):
        lines = [_line(event.member)]
    else:
        lines = ["occupied" if event.occupied else "vacated"]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def event_json(event: PresenceEvent) -> bytes:
    fields: dict[str, Any] = {"present": event.present, "away": event.away}
    if isinstance(event, PresenceSnapshot):
        return json_line({"event": "snapshot", **fields, "members": [_fields(member) for member in event.members]})
    if isinstance(event, MemberChanged):
        return json_line({"event": "changed", **fields, "member": _fields(event.member)})
    return json_line({"event": "occupied" if event.occupied else "vacated", **fields})


def _line(member: Member) -> str:
    cells = [member.client_id, str(member.member_id), member.status, show_time(_since_ms(member)), _data(member)]
    return "\t".join(cells)


def _data(member: Member) -> str:
    """In one line, whatever it is."""
    return json.dumps(json_data(member.data), ensure_ascii=False, separators=(",", ":"))


def _since_ms(member: Member) -> int:
    return round(member.since.timestamp() * 1000)


def _fields(member: Member) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "client_id": member.client_id,
        "member_id": member.member_id,
        "status": member.status,
        "since_ms": _since_ms(member),
        "data": json_data(member.data),
    }
    return fields | ({"reason": member.reason} if member.reason else {})
