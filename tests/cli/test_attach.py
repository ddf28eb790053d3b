from __future__ import annotations

import json
import signal

import pytest
from outlast_cli.exits import Exit

from . import shell
from .shell import fill


def test_what_the_channel_is_and_what_happens(url: str) -> None:
    fill(url, "attach-json", 2)
    assert shell.call("pub", "attach-json", "an answer", "--message", "answer", url=url).code == 0
    with shell.start("attach", "attach-json", "--last", "2", "-n", "3", "--json", url=url) as process:
        assert process.stdout is not None
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert (told[0]["event"], told[0]["state"], told[0]["members"], told[0]["messages"]) == ("attached", {}, [], [])
        assert told[0]["through"].endswith(":5")
        assert (told[1]["event"], told[1]["data"]) == ("record", "2")
        message = told[2]
        assert (message["event"], message["message"], message["name"]) == ("message", 3, "answer")
        assert (message["delta"], message["state"], "content" in message) == ("an answer", "complete", False)
        assert message["operation"] == {"op": "folded", "state": "complete", "message": 3}
        shell.call("pub", "attach-json", "live", url=url)
        assert json.loads(process.stdout.readline())["data"] == "live"
        assert process.wait(shell.TIMEOUT_S) == 0


def test_in_a_pipe_a_message_is_a_line_when_it_is_closed(url: str) -> None:
    fill(url, "attach-pipe", 1)
    with (
        shell.start("attach", "attach-pipe", "--from", "earliest", "-n", "8", url=url) as process,
        shell.start("pub", "attach-pipe", "-", "--message", "answer", url=url) as writer,
    ):
        assert process.stdout is not None and writer.stdin is not None
        assert process.stdout.readline() == b"1\n"
        writer.stdin.write(b"to ")
        writer.stdin.flush()
        writer.stdin.write(b"be")
        writer.stdin.close()
        assert writer.wait(shell.TIMEOUT_S) == 0
        assert process.stdout.readline() == b"to be\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED


def test_a_resync_is_said(url: str) -> None:
    fill(url, "attach-resync", 9)
    assert shell.call("channels", "truncate", "attach-resync", "--before", "8", url=url).lines == ["8"]
    done = shell.run("attach", "attach-resync", "--after", "2", "-n", "2", "--json", url=url)
    attached, resync, again, *records = map(json.loads, done.lines)
    assert (attached["event"], again["event"], resync["event"]) == ("attached", "attached", "resync")
    assert (resync["reason"], resync["position"].endswith(":7")) == ("trimmed", True)
    assert [record["offset"] for record in records] == [8, 9]
    assert done.err.startswith("outlast: resync: the channel was trimmed")


@pytest.mark.parametrize("other", [["--after", "1"], ["--from", "earliest"]])
def test_one_start(url: str, other: list[str]) -> None:
    done = shell.call("attach", "ch", "--last", "2", *other, url=url)
    assert done.code == Exit.USAGE and "give one of them" in done.err
