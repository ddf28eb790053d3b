from __future__ import annotations

import json
import signal
import subprocess

import pytest
from outlast_cli.exits import Exit

from . import shell
from .shell import fill


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def test_starts(url: str) -> None:
    position = fill(url, "sub-starts", 9)
    for arguments, first in (
        (["--from", "earliest"], 1),
        (["--after", position.replace(":9", ":6")], 7),
        (["--from", "1h ago"], 1),
    ):
        done = shell.run("sub", "sub-starts", *arguments, "--exit-at-end", url=url)
        assert (done.code, done.lines, done.err) == (0, numbers(first, 9), "")


@pytest.mark.parametrize("arguments", [["--after", "2"], []])
def test_at_the_end_already(url: str, arguments: list[str]) -> None:
    channel = f"sub-end-{'-'.join(arguments)}"
    fill(url, channel, 2)
    done = shell.run("sub", channel, *arguments, "--exit-at-end", url=url)
    assert (done.code, done.out) == (0, "")


def test_goes_on_live_and_stops_after_n(url: str) -> None:
    fill(url, "sub-live", 2)
    with shell.start("sub", "sub-live", "--from", "earliest", "-n", "3", "--json", url=url) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["data"] for _ in range(2)] == ["1", "2"]
        assert shell.call("pub", "sub-live", "three", url=url).code == 0
        live = json.loads(process.stdout.readline())
        assert (live["data"], live["offset"]) == ("three", 3)
        assert process.wait(shell.TIMEOUT_S) == 0


def test_a_resync_is_said(url: str) -> None:
    fill(url, "sub-resync", 9)
    assert shell.call("channels", "truncate", "sub-resync", "--before", "8", url=url).lines == ["8"]
    done = shell.run("sub", "sub-resync", "--after", "2", "--exit-at-end", "--json", url=url)
    told, *records = map(json.loads, done.lines)
    assert (done.code, told["resync"], told["position"].endswith(":7")) == (0, "trimmed", True)
    assert [record["offset"] for record in records] == [8, 9]
    assert done.err.startswith("outlast: resync: the channel was trimmed")


def test_fail_on_resync(url: str) -> None:
    fill(url, "sub-fail", 3)
    shell.call("channels", "truncate", "sub-fail", "--before", "3", url=url)
    done = shell.run("sub", "sub-fail", "--after", "0", "--fail-on-resync", url=url)
    assert (done.code, done.out) == (Exit.RESYNC, "")


def test_a_deleted_channel_is_the_end_of_all(url: str) -> None:
    fill(url, "sub-deleted", 1)
    with shell.start("sub", "sub-deleted", "--from", "earliest", "--fail-on-resync", "--json", url=url) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["data"] == "1"
        assert shell.call("channels", "rm", "sub-deleted", url=url).code == 0
        assert json.loads(process.stdout.readline()) == {"resync": "deleted", "position": None}
        assert process.wait(shell.TIMEOUT_S) == Exit.RESYNC


def test_ctrl_c_ends_quietly(url: str) -> None:
    with shell.start("sub", "sub-int", "--from", "earliest", url=url) as process:
        assert process.stdout is not None and process.stderr is not None
        shell.call("pub", "sub-int", "x", url=url)
        assert process.stdout.readline() == b"x\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
        assert process.stderr.read() == b""


def test_a_reader_that_leaves_ends_it_though_nothing_comes(url: str) -> None:
    with shell.start("sub", "sub-gone", "--from", "earliest", url=url) as process:
        assert process.stdout is not None and process.stderr is not None
        shell.call("pub", "sub-gone", "x", url=url)
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.wait(shell.TIMEOUT_S) == Exit.PIPE_CLOSED
        assert process.stderr.read() == b""


def test_head_gets_its_lines(url: str) -> None:
    fill(url, "sub-head", 20_000)
    with shell.start("sub", "sub-head", "--from", "earliest", url=url) as process:
        done = subprocess.run(["head", "-2"], stdin=process.stdout, capture_output=True, timeout=shell.TIMEOUT_S)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert done.stdout == b"1\n2\n"
        assert process.wait(shell.TIMEOUT_S) == Exit.PIPE_CLOSED
        assert process.stderr.read() == b""


@pytest.mark.parametrize("arguments", [["--from", "noon"], ["--after", "x"], ["--after", "1", "--from", "latest"]])
def test_mistakes(url: str, arguments: list[str]) -> None:
    done = shell.run("sub", "ch", *arguments, url=url)
    assert (done.code, done.out) == (Exit.USAGE, "")


def test_ahead_of_the_channel(url: str) -> None:
    fill(url, "sub-ahead", 1)
    done = shell.run("sub", "sub-ahead", "--after", "9", url=url)
    assert done.code == Exit.REFUSED
    assert done.err.startswith("outlast: offset_ahead: ")


# --- --cursor ---------------------------------------------------------------------------------------------


def test_a_cursor_goes_on_where_it_was(url: str) -> None:
    fill(url, "sub-cursor", 9)
    for first, last in ((1, 4), (5, 8), (9, 9)):
        arguments = ["--cursor", "phone", "-n", str(last - first + 1)]
        assert shell.run("sub", "sub-cursor", *arguments, url=url).lines == numbers(first, last)
    done = shell.run("sub", "sub-cursor", "--cursor", "phone", "--exit-at-end", url=url)
    assert (done.code, done.out) == (0, "")
    done = shell.run("sub", "sub-cursor", "--cursor", "tab", "--from", "last:2", "--exit-at-end", url=url)
    assert done.lines == numbers(8, 9)


def test_what_was_written_out_is_acknowledged_while_it_reads_on(url: str) -> None:
    fill(url, "sub-cursor-live", 3)
    with shell.start("sub", "sub-cursor-live", "--cursor", "phone", url=url) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
    [line] = shell.call("cursors", "ls", "sub-cursor-live", url=url).lines
    assert line.split("\t")[:3] == ["phone", "3", "0"]
