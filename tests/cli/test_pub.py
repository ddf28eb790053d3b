from __future__ import annotations

import json
import signal

import click
import pytest
from outlast import Ack, Position
from outlast_cli.exits import Exit
from outlast_cli.pub import line_data, parse_data, parse_headers, show_ack

from . import shell

ACK = Ack(7, 1, 0xC0FFEE, True)


def test_acks() -> None:
    assert show_ack(ACK, "auto", False) == ["0000000000c0ffee:7"]
    assert show_ack(ACK, "plain", True) == ["0000000000c0ffee:7"]
    assert json.loads(show_ack(ACK, "json", True)[0]) == {
        "offset": 7,
        "position": "0000000000c0ffee:7",
        "duplicate": True,
    }
    assert show_ack(ACK, "auto", True) == show_ack(ACK, "table", False)
    assert show_ack(ACK, "table", False)[1].split() == ["7", "0000000000c0ffee:7", "yes"]


def test_arguments() -> None:
    assert parse_headers(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert parse_data("[1]", True) == [1]
    assert parse_data("[1]", False) == "[1]"
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        parse_headers(["a"])
    with pytest.raises(click.UsageError, match="DATA is not JSON"):
        parse_data("{", True)


def test_lines_as_data() -> None:
    assert line_data("ü".encode(), False) == "ü"
    assert line_data(b"\xff", False) == b"\xff"
    assert line_data(b"null", True) is None
    with pytest.raises(ValueError, match="no JSON"):
        line_data(b"{", True)
    with pytest.raises(ValueError, match="split it"):
        line_data(None, False)


def test_one_record(url: str) -> None:
    done = shell.run("pub", "pub-one", '{"a":1}', "--json", "--name", "ev", "--header", "k=v", url=url)
    assert (done.code, done.err) == (0, "")
    assert Position.parse(done.out.strip()).offset == 1
    (line,) = shell.run("history", "pub-one", "--json", url=url).lines
    stored = json.loads(line)
    assert (stored["data"], stored["name"], stored["headers"]) == ({"a": 1}, "ev", {"k": "v"})


def test_what_has_a_time_to_live_is_gone_after_it(url: str) -> None:
    assert shell.run("pub", "brief", "gone", "--ttl", "1ms", url=url).code == Exit.OK
    assert shell.run("pub", "brief", "stays", "--ttl", "1h", url=url).code == Exit.OK
    done = shell.run("history", "brief", "--json", url=url)
    assert [json.loads(line)["data"] for line in done.out.splitlines()] == ["stays"]


def test_a_condition_that_does_not_hold(url: str) -> None:
    assert shell.run("pub", "pub-if", "first", "--if-offset", "0", url=url).code == 0
    done = shell.run("pub", "pub-if", "second", "--if-offset", "0", url=url)
    assert (done.code, done.out) == (Exit.REFUSED, "")
    assert done.err.startswith("outlast: offset_mismatch: ") and done.err.count("\n") == 1


def test_standard_input_is_published_line_by_line(url: str) -> None:
    text = "".join(f"line {number}\n" for number in range(5_000))
    done = shell.run("pub", "pub-lines", "-", url=url, stdin=text.encode())
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("outlast: published 5,000, last ") and done.err.endswith(":5000\n")
    assert shell.run("history", "pub-lines", url=url).out == text


def test_a_refused_line_does_not_stop_the_others(url: str) -> None:
    text = b'1\n{bad\n\nnull\n"' + b"x" * 2_000_000 + b'"\n[2]'
    done = shell.run("pub", "pub-bad", "-", "--json", url=url, stdin=text)
    assert done.code == Exit.REFUSED
    assert "line 2: no JSON" in done.err and "line 5: longer than 1,048,512 bytes" in done.err
    assert "published 3, refused 2, last " in done.err
    assert shell.run("history", "pub-bad", url=url).lines == ["1", "null", "[2]"]


def test_more_than_the_client_may_hold(url: str) -> None:
    line = "x" * 100_000 + "\n"
    done = shell.run("pub", "pub-large", "-", url=url, stdin=line.encode() * 200)
    assert (done.code, "published 200," in done.err) == (0, True)


def test_ctrl_c_settles_what_was_read(url: str) -> None:
    with shell.start("pub", "pub-int", "-", url=url) as process, shell.start("sub", "pub-int", "-n1", url=url) as sub:
        assert process.stdin is not None and sub.stdout is not None
        # The reader begins at what comes next: once it has one of these lines, they were read.
        while sub.poll() is None:
            process.stdin.write(b"line\n")
            process.stdin.flush()
            if shell.waits(sub.stdout, 0.05):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"outlast: published ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pub", "ch"], "Missing argument 'DATA'"),
        (["pub", "", "x"], "the channel's name has 0 bytes"),
        (["pub", "ch", "-", "--if-offset", "1"], "for a single record"),
        (["pub", "ch", "x", "--header", "k"], "no KEY=VALUE"),
        (["pub", "ch", "x", "--name", "n" * 256], "name has more than 255 bytes"),
        (
            ["pub", "ch", "x", "--message", "m", "--ttl", "1s"],
            "--if-offset and --ttl",
        ),
        (["pub", "ch", "x", "--ephemeral", "--ttl", "1s"], "leave out -, --if-offset, --ttl"),
        (["pub", "ch", "x", "--url", "http://x"], "no address of a broker"),
    ],
)
def test_mistakes(url: str, arguments: list[str], text: str) -> None:
    done = shell.run(*arguments, url=url)
    assert done.code == Exit.USAGE
    assert text in done.err and "Traceback" not in done.err


def test_no_broker() -> None:
    done = shell.run("pub", "ch", "x", "--connect-timeout", "200ms", url="outlast+unix:///nowhere/socket")
    assert done.code == Exit.UNREACHABLE
    assert "start one with `outlast serve`" in done.err and "Traceback" not in done.err
