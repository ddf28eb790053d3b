from __future__ import annotations

import json
import signal

import pytest
from outlast import Position
from outlast_cli.exits import Exit

from . import shell


def told(url: str, channel: str, *arguments: str) -> list[tuple[str, str | None, str]]:
    """Data, name and operation of each record of history."""
    lines = map(json.loads, shell.run("history", channel, "--json", *arguments, url=url).lines)
    return [(line["data"], line["name"], line["operation"]["op"]) for line in lines]


def test_standard_input_as_one_message(url: str) -> None:
    text = "Füße\nand more\n"
    done = shell.run("pub", "grow-stdin", "-", "--message", "answer", "--header", "k=v", url=url, stdin=text.encode())
    assert (done.code, done.err, Position.parse(done.out.strip()).offset) == (0, "", 1)
    assert told(url, "grow-stdin") == [(text, "answer", "folded")]
    assert told(url, "grow-stdin", "--raw")[0] == ("", "answer", "open")


def test_letters_that_come_in_pieces(url: str) -> None:
    with shell.start("pub", "grow-pieces", "-", "--message", "answer", url=url) as process:
        assert process.stdin is not None
        for piece in (b"F\xc3", b"\xbc\xc3\x9fe \xff", b"\xc3"):
            process.stdin.write(piece)
            process.stdin.flush()
        process.stdin.close()
        assert process.wait(shell.TIMEOUT_S) == 0
    assert told(url, "grow-pieces") == [("Füße \ufffd\ufffd", "answer", "folded")]


def test_ctrl_c_closes_it_as_cancelled(url: str) -> None:
    with (
        shell.start("pub", "grow-int", "-", "--message", "answer", url=url) as process,
        shell.start("sub", "grow-int", "--from", "earliest", "--json", "-n", "3", url=url) as reader,
    ):
        assert process.stdin is not None and reader.stdout is not None
        process.stdin.write(b"half")
        process.stdin.flush()
        assert [json.loads(reader.stdout.readline())["data"] for _ in range(2)] == ["", "half"]
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
        operation = json.loads(reader.stdout.readline())["operation"]
        assert operation == {"op": "close", "state": "cancelled", "message": 1}


def test_data_as_one_message(url: str) -> None:
    assert shell.call("pub", "grow-data", "whole", "--message", "answer", url=url).code == 0
    assert told(url, "grow-data") == [("whole", "answer", "folded")]


def test_under_a_lease(url: str) -> None:
    done = shell.run("pub", "grow-lease", "whole", "--message", "answer", "--lease", "writer", url=url)
    assert (done.code, done.err) == (0, "")
    assert told(url, "grow-lease") == [("whole", "answer", "folded")]


@pytest.mark.parametrize("other", [["--json"], ["--name", "x"], ["--if-offset", "0"], ["--ephemeral"]])
def test_what_does_not_go_with_it(url: str, other: list[str]) -> None:
    done = shell.call("pub", "ch", "1", "--message", "answer", *other, url=url)
    assert done.code == Exit.USAGE and "leave out --name, --json, --ephemeral" in done.err


def test_a_message_that_cannot_be(url: str) -> None:
    done = shell.call("pub", "ch", "x", "--message", "n" * 256, url=url)
    assert done.code == Exit.USAGE and "255" in done.err
