from __future__ import annotations

import json
import subprocess
from typing import Any

from outlast import Data, Position, StateChanged, StateEntry, StateSnapshot
from outlast_cli.exits import Exit
from outlast_cli.state import one_line, show_change, show_state

from . import shell

SNAPSHOT = StateSnapshot(
    {
        "step": StateEntry({"name": "build"}, 1_200, "agent", 1_769_860_800_000),
        "text": StateEntry("two\nlines", 7, "phone", 1_769_860_800_000),
    },
    Position(1, 1_200),
)


def test_lists() -> None:
    head, first, second = show_state(SNAPSHOT, False, True)
    assert head.split() == ["key", "version", "value", "client", "written"]
    assert first.split()[:5] == ["step", "1,200", '{"name":', '"build"}', "agent"]
    assert "two\\nlines" in second
    assert show_state(SNAPSHOT, False, False)[0].split("\t")[:3] == ["step", "1200", '{"name": "build"}']
    assert json.loads(show_state(SNAPSHOT, True, True)[0]) == {
        "key": "step",
        "value": {"name": "build"},
        "version": 1200,
        "client_id": "agent",
        "time_ms": 1_769_860_800_000,
    }


def test_a_value_takes_one_line() -> None:
    expected: dict[str, Data] = {
        "text": "text",
        '"two\\nlines"': "two\nlines",
        '["ä", 1]': ["ä", 1],
        '{"base64": "/w=="}': b"\xff",
        "null": None,
    }
    for line, value in expected.items():
        assert one_line(value) == line
    [_, row] = show_state(StateSnapshot({"k": StateEntry("x" * 99, 1, "a", 1)}, Position(1, 1)), False, True)
    assert f"{'x' * 57}..." in row and "x" * 58 not in row


def test_changes() -> None:
    changed = StateChanged("k", {"a": 1}, 7, "agent", False, 1_000)
    gone = StateChanged("k", None, 8, "agent", True, 2_000)
    assert show_change(changed, False) == b'7\tk\t{"a": 1}\n'
    assert show_change(gone, False) == b"8\tk\n"
    assert json.loads(show_change(changed, True)) == {
        "key": "k", "value": {"a": 1}, "version": 7, "client_id": "agent", "time_ms": 1_000,
    }  # fmt: skip
    assert json.loads(show_change(gone, True)) == {"key": "k", "deleted": True, "version": 8, "client_id": "agent"}


def call(url: str, *arguments: str) -> shell.Finished:
    return shell.call("state", "state-room", *arguments, url=url)


def test_every_command(url: str) -> None:
    assert call(url, "set", "step", "plan", "--if-version", "0").lines == ["1"]
    assert call(url, "set", "limits", '{"tokens": 5}', "--json").lines == ["2"]
    assert call(url, "increment", "n").lines == ["3"]
    assert call(url, "increment", "n", "-11").lines == ["4"]
    assert [call(url, "get", key).out for key in ("step", "limits", "n")] == ["plan\n", '{"tokens":5}\n', "-10\n"]
    assert json.loads(call(url, "get", "n", "--json").out)["version"] == 4
    assert call(url, "delete", "limits", "--if-version", "2").lines == ["5"]
    for arguments in ([], ["ls"]):
        rows = [line.split("\t")[:3] for line in call(url, *arguments).lines]
        assert rows == [["n", "4", "-10"], ["step", "1", "plan"]]
    assert [json.loads(line)["key"] for line in call(url, "--json").lines] == ["n", "step"]


def test_what_is_refused(url: str) -> None:
    assert shell.call("state", "no such channel", url=url).code == Exit.REFUSED
    call(url, "set", "refused", "text")
    done = call(url, "set", "refused", "x", "--if-version", "0")
    assert (done.code, done.out) == (Exit.REFUSED, "") and "version_mismatch: key 'refused' is at version" in done.err
    done = call(url, "increment", "refused")
    assert done.code == Exit.REFUSED and "set the key to a whole number within 2^53 first, with --json" in done.err
    done = call(url, "get", "none")
    assert done.code == Exit.REFUSED and "there is no key 'none' in state-room" in done.err


def test_wrong_usage(url: str) -> None:
    wrong = [["set", "", "x"], ["set", "k", "{", "--json"], ["set", "k"], ["increment", "k", "one"], ["bogus"]]
    for arguments in wrong:
        assert call(url, *arguments).code == Exit.USAGE, arguments
    assert shell.call("state", "state-room", "--help", url=url).out == shell.call("state", "--help", url=url).out
    assert "increment" in shell.call("state", "--help", url=url).out


def test_watch(url: str) -> None:
    for key in ("b", "a"):
        assert shell.call("state", "watched", "set", key, "there", url=url).code == 0
    with shell.start("state", "watched", "watch", "-n", "4", "--json", url=url) as process:
        assert [(each["key"], each["version"]) for each in read(process, 2)] == [("b", 1), ("a", 2)]
        shell.call("state", "watched", "increment", "n", url=url)
        shell.call("state", "watched", "delete", "a", url=url)
        assert [each["key"] for each in read(process, 2)] == ["n", "a"]
        assert process.wait(shell.TIMEOUT_S) == 0


def test_watch_says_that_a_channel_was_deleted(url: str) -> None:
    assert shell.call("state", "doomed", "set", "k", "there", url=url).code == 0
    with shell.start("state", "doomed", "watch", "-n", "2", url=url) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"1\tk\tthere\n"
        assert shell.call("channels", "rm", "doomed", "--yes", url=url).code == 0
        assert process.stdout.readline() == b"0\tk\n"
        assert process.wait(shell.TIMEOUT_S) == 0


def read(process: subprocess.Popen[bytes], count: int) -> list[Any]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]
