from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime

import outlast
from outlast import Member, MemberChanged, Occupied, PresenceSnapshot, Vacated
from outlast_cli.exits import Exit
from outlast_cli.presence import event_json, event_lines, show_members

from . import shell

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
SINCE_MS = 1_769_860_800_000
PHONE = Member("phone", 7, "present", {"typing": True}, SINCE)
TAB = Member("tab", 8, "away", "two\nlines", SINCE)
GONE = Member("tab", 8, "left", b"\xff", SINCE, "timed_out")
FIELDS = {"client_id": "tab", "member_id": 8, "since_ms": SINCE_MS}


def test_lists() -> None:
    head, first, _ = show_members([PHONE, TAB], False, True)
    assert head.split() == ["client", "status", "since", "data"]
    assert first.split()[:2] == ["phone", "present"] and first.endswith('{"typing":true}')
    line = show_members([PHONE, TAB], False, False)[1]
    assert line.split("\t")[:3] == ["tab", "8", "away"] and line.endswith('\t"two\\nlines"')
    assert json.loads(show_members([TAB], True, True)[0]) == FIELDS | {"status": "away", "data": "two\nlines"}


def test_events_as_lines() -> None:
    assert event_lines(PresenceSnapshot(1, 1, (PHONE, TAB))).count(b"\n") == 2
    assert event_lines(PresenceSnapshot(0, 0, ())) == b""
    assert event_lines(MemberChanged(1, 0, GONE)).startswith(b"tab\t8\tleft\t")
    assert (event_lines(Occupied(1, 0)), event_lines(Vacated(0, 0))) == (b"occupied\n", b"vacated\n")


def test_events_as_json() -> None:
    told = json.loads(event_json(PresenceSnapshot(1, 1, (PHONE, TAB))))
    assert (told["event"], told["present"], told["away"], len(told["members"])) == ("snapshot", 1, 1, 2)
    told = json.loads(event_json(MemberChanged(1, 0, GONE)))
    gone = FIELDS | {"status": "left", "reason": "timed_out", "data": {"base64": "/w=="}}
    assert told == {"event": "changed", "present": 1, "away": 0, "member": gone}
    assert json.loads(event_json(Vacated(0, 0))) == {"event": "vacated", "present": 0, "away": 0}


def test_who_is_there_and_who_comes_and_goes(url: str) -> None:
    async def come_and_go() -> None:
        async with (
            outlast.connect(url, client_id="phone") as client,
            client.channel("presence-watch").presence.enter("here") as me,
        ):
            listed = await asyncio.to_thread(shell.call, "presence", "presence-watch", url=url)
            assert listed.lines[0].split("\t")[:3] == ["phone", str(me.member_id), "present"]
            listed = await asyncio.to_thread(shell.call, "presence", "presence-watch", "--json", url=url)
            assert json.loads(listed.lines[0])["data"] == "here"
            told.append(json.loads(await asyncio.to_thread(process.stdout.readline)))  # type: ignore[union-attr]

    told: list[dict[str, object]] = []
    with shell.start("presence", "presence-watch", "--watch", "--json", url=url) as process:
        assert process.stdout is not None
        told.append(json.loads(process.stdout.readline()))
        asyncio.run(come_and_go())
        told += [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
    assert [each["event"] for each in told] == ["snapshot", "changed", "occupied", "changed", "vacated"]


def test_a_channel_that_does_not_exist_is_refused(url: str) -> None:
    assert shell.call("presence", "no such channel", url=url).code == Exit.REFUSED
    assert shell.call("presence", "", url=url).code == Exit.USAGE


def test_a_reader_that_leaves_ends_it(url: str) -> None:
    with shell.start("presence", "presence-gone", "--watch", "--json", url=url) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(shell.TIMEOUT_S) == Exit.PIPE_CLOSED
        assert process.stderr.read() == b""
