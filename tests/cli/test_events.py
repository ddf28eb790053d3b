from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from outlast import (
    Assembly,
    Attachment,
    Member,
    MemberChanged,
    MessageChanged,
    Occupied,
    Position,
    PresenceSnapshot,
    Record,
    StateChanged,
    StateEntry,
    StateSnapshot,
)
from outlast.attachment import Event
from outlast_cli.events import JsonLines, Lines, Paper
from outlast_protocol.operations import MessageState, Op, Operation

EPOCH = 0xC0FFEE
ADA = Member("ada", 1, "present", "rea\x1bding", datetime(2026, 1, 31, 12, tzinfo=UTC))
STATE = StateChanged("k", {"a": 1}, 7, "agent", False, 0)


class Channel:
    """Growing messages of one channel, operation by operation."""

    def __init__(self) -> None:
        self._offset = 0
        self._assembly = Assembly()

    def record(self, data: Any, operation: Operation | None = None, name: str | None = None) -> Record:
        self._offset += 1
        return Record(self._offset, data, name, {}, "agent", 1_769_860_800_123, EPOCH, operation)

    def change(self, op: Op, message: int, data: str | bytes = "", state: MessageState = MessageState.OPEN) -> Event:
        name = "ans\x07wer" if op is Op.OPEN else None
        record = self.record(data, Operation(op, message, state), name)
        change = self._assembly.feed(record)
        assert change is not None
        return MessageChanged(change.message, change.delta, record)


class Session:
    """What an attachment would have on entering."""

    def __init__(self) -> None:
        channel = Channel()
        event = channel.change(Op.OPEN, 0, "so far")
        assert isinstance(event, MessageChanged)
        self.messages = {1: event.message}
        self.members = [ADA]
        self.through = Position(EPOCH, 9)
        self.state = StateSnapshot({"k": StateEntry([1], 2, "agent", 0)}, self.through)


SESSION = cast(Attachment, Session())


def shown(shown: Lines | Paper | JsonLines, *events: Event) -> str:
    return b"".join(map(shown.tell, events)).decode()


def test_text_grows_on_its_line_until_something_else_is_said() -> None:
    channel = Channel()
    text = shown(
        Paper(),
        channel.change(Op.OPEN, 0),
        channel.change(Op.APPEND, 1, "To be\nor "),
        channel.change(Op.APPEND, 1, "not "),
        channel.change(Op.OPEN, 0, "Hm"),
        channel.change(Op.APPEND, 1, "to be"),
        channel.change(Op.CLOSE, 1, "", MessageState.COMPLETE),
        channel.change(Op.CLOSE, 4, "who\x07 asks", MessageState.CANCELLED),
        channel.change(Op.REPLACE, 1, "anew"),
        channel.change(Op.REMOVE, 1),
    )
    assert text.splitlines() == [
        "[1 ans\\x07wer, agent] To be",
        "or not ",
        "[4 ans\\x07wer, agent] Hm",
        "[1 ans\\x07wer, agent] to be (complete)",
        "[4 ans\\x07wer, agent]  (cancelled: who\\x07 asks)",
        "[1 ans\\x07wer, agent] anew: anew (complete)",
        "[1 ans\\x07wer, agent] anew:  (removed)",
    ]


def test_everything_else_has_a_line_of_its_own() -> None:
    channel = Channel()
    text = shown(
        Paper(),
        channel.change(Op.OPEN, 0, b"\xff"),
        STATE,
        StateChanged("k", None, 8, "agent", True, 0),
        MemberChanged(1, 0, ADA._replace(status="left", reason="timed_out", data=None)),
        Occupied(1, 0),
        PresenceSnapshot(1, 0, (ADA,)),
        channel.record("\x1bplain"),
    )
    lines = text.splitlines()
    assert lines[:5] == [
        "[1 ans\\x07wer, agent] \\xff",
        'state   k = {"a": 1}',
        "state   k is gone",
        "member  ada left (timed_out)",
        "member  ada present rea\\x1bding",
    ]
    assert lines[5].split() == ["2", lines[5].split()[1], "agent", "-", "\\x1bplain"]


def test_what_a_channel_is_for_a_person() -> None:
    assert Paper().begin(SESSION).decode().splitlines() == [
        "state   k = [1]",
        "member  ada present rea\\x1bding",
        "[1 ans\\x07wer, agent] so far",
    ]


def test_lines_of_a_pipe() -> None:
    channel = Channel()
    events = [
        channel.change(Op.OPEN, 0, b"\xff"),
        channel.record("plain"),
        STATE,
        channel.change(Op.CLOSE, 1, "", MessageState.COMPLETE),
        channel.change(Op.REMOVE, 1),
    ]
    assert b"".join(map(Lines().tell, events)) == b"plain\n\xff\n"
    assert Lines().begin(SESSION) == b""


def test_json() -> None:
    channel = Channel()
    events = [
        channel.change(Op.OPEN, 0, "A"),
        channel.change(Op.REPLACE, 1, "B"),
        channel.record(b"\xff"),
        STATE,
        MemberChanged(1, 0, ADA),
        PresenceSnapshot(1, 0, (ADA,)),
        Occupied(1, 0),
    ]
    opened, replaced, plain, state, member, snapshot, occupied = map(
        json.loads, shown(JsonLines(), *events).splitlines()
    )
    assert (opened["event"], opened["delta"], opened["operation"]) == ("message", "A", {"op": "open"})
    assert (replaced["content"], "delta" in replaced, replaced["position"][-1]) == ("B", False, "2")
    assert (plain["event"], plain["data"]) == ("record", {"base64": "/w=="})
    assert (state["key"], state["value"], state["version"], state["deleted"]) == ("k", {"a": 1}, 7, False)
    assert (member["member"]["client_id"], member["member"]["since"]) == ("ada", "2026-01-31T12:00:00.000Z")
    assert [each["client_id"] for each in snapshot["members"]] == ["ada"]
    assert (occupied["event"], occupied["occupied"]) == ("presence", True)
    begun = json.loads(JsonLines().begin(SESSION))
    assert (begun["state"], begun["messages"][0]["content"]) == ({"k": [1]}, "so far")
