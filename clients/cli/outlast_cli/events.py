"""What an attachment tells, as people and programs read it."""

from __future__ import annotations

from typing import Any

from outlast import (
    Attachment,
    Data,
    GrowingMessage,
    Member,
    MemberChanged,
    MessageChanged,
    PresenceSnapshot,
    Record,
    StateChanged,
)
from outlast.attachment import Event
from outlast.members import PresenceEvent

from .rendering import as_columns, as_data, json_data, json_line, one_line, operation_fields, record_fields
from .terminal import paint, visible


class Lines:
    """For a pipe: records, and messages when they are closed, one a line."""

    def begin(self, session: Attachment) -> bytes:
        return b""

    def tell(self, event: Event) -> bytes:
        if isinstance(event, Record):
            return as_data(event)
        if not isinstance(event, MessageChanged) or event.message.is_open or event.message.state == "removed":
            return b""
        content = event.message.content
        return (content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content) + b"\n"


class JsonLines:
    """For programs: one object for what the channel is, then one for each event."""

    def begin(self, session: Attachment) -> bytes:
        fields = {
            "event": "attached",
            "through": str(session.through),
            "state": {key: json_data(value) for key, value in session.state.items()},
            "members": [_member_fields(member) for member in session.members],
            "messages": [_message_fields(message) for message in session.messages.values()],
        }
        return json_line(fields)

    def tell(self, event: Event) -> bytes:
        return json_line(_event_fields(event))


def _event_fields(event: Event) -> dict[str, Any]:
    if isinstance(event, Record):
        return {"event": "record", **record_fields(event)}
    if isinstance(event, MessageChanged):
        return _change_fields(event)
    if isinstance(event, StateChanged):
        return {"event": "state", "key": event.key, "value": json_data(event.value), "version": event.version,
                "deleted": event.deleted, "client_id": event.client_id}  # fmt: skip
    return _presence_fields(event)


def _change_fields(event: MessageChanged) -> dict[str, Any]:
    """The content only where it is new; else `delta` goes at the end of what was told before."""
    fields = _message_fields(event.message)
    if event.delta is not None:
        fields |= {"delta": json_data(event.delta)}
        del fields["content"]
    told = {"event": "message", "position": str(event.position), "operation": operation_fields(event.operation)}
    return told | fields


def _presence_fields(event: PresenceEvent) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": "presence", "present": event.present, "away": event.away}
    if isinstance(event, MemberChanged):
        return fields | {"member": _member_fields(event.member)}
    if isinstance(event, PresenceSnapshot):
        return fields | {"members": [_member_fields(member) for member in event.members]}
    return fields | {"occupied": event.occupied}


def _message_fields(message: GrowingMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"message": message.id, "name": message.name, "client_id": message.client_id,
                              "state": message.state, "reason": message.reason}  # fmt: skip
    if message.headers:
        fields["headers"] = dict(message.headers)
    return fields | {"content": json_data(message.content)}


def _member_fields(member: Member) -> dict[str, Any]:
    fields = member._asdict() | {"data": json_data(member.data)}
    return fields | {"since": member.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


class Paper:
    """For a person: a message that grows stays on its line until something else has to be said."""

    def __init__(self) -> None:
        self._at: int | None = None

    def begin(self, session: Attachment) -> bytes:
        said = [self._line("state", f"{visible(key)} = {_shown(value)}") for key, value in session.state.items()]
        said += [self._line("member", _member_text(member)) for member in session.members]
        said += [self._grow(message, message.content) for message in session.messages.values()]
        return "".join(said).encode("utf-8", "backslashreplace")

    def tell(self, event: Event) -> bytes:
        return self._text(event).encode("utf-8", "backslashreplace")

    def _text(self, event: Event) -> str:
        if isinstance(event, Record):
            return self._broken() + as_columns(event).decode()
        if isinstance(event, MessageChanged):
            return self._change(event)
        if isinstance(event, StateChanged):
            what = "is gone" if event.deleted else f"= {_shown(event.value)}"
            return self._line("state", f"{visible(event.key)} {what}")
        if isinstance(event, MemberChanged):
            return self._line("member", _member_text(event.member))
        if isinstance(event, PresenceSnapshot):
            return "".join(self._line("member", _member_text(member)) for member in event.members)
        return ""

    def _change(self, event: MessageChanged) -> str:
        message = event.message
        if event.delta is None:
            said = self._broken() + self._grow(message, message.content, "anew: ")
        else:
            said = self._grow(message, event.delta) if event.delta else ""
        if message.is_open:
            return said
        reason = f": {visible(message.reason)}" if message.reason else ""
        said += ("" if self._at == message.id else self._head(message)) + paint(f" ({message.state}{reason})", dim=True)
        self._at = None
        return said + "\n"

    def _grow(self, message: GrowingMessage, piece: str | bytes, what: str = "") -> str:
        head = "" if self._at == message.id else self._head(message) + what
        return head + (_lines(piece) if isinstance(piece, str) else repr(piece)[2:-1])

    def _head(self, message: GrowingMessage) -> str:
        said = self._broken()
        self._at = message.id
        name = f" {visible(message.name)}" if message.name else ""
        return said + paint(f"[{message.id}{name}, {visible(message.client_id)}] ", "yellow")

    def _line(self, what: str, text: str) -> str:
        return f"{self._broken()}{paint(what.ljust(8), 'cyan')}{text}\n"

    def _broken(self) -> str:
        """Ends the line of a message that may still grow."""
        broken, self._at = self._at is not None, None
        return "\n" if broken else ""


def _member_text(member: Member) -> str:
    why = f" ({member.reason})" if member.reason else ""
    data = "" if member.data is None else f" {_shown(member.data)}"
    return f"{visible(member.client_id)} {member.status}{why}{data}"


def _shown(data: Data) -> str:
    return visible(one_line(data))


def _lines(text: str) -> str:
    """Text may have lines here; nothing else of it steers the terminal."""
    return "\n".join(map(visible, text.split("\n")))
