from __future__ import annotations

import pytest
from outlast_cli.exits import Exit

from . import shell
from .shell import fill
from .test_sub import numbers


def test_ranges(url: str) -> None:
    position = fill(url, "history", 9)
    for arguments, expected in (
        ([], numbers(1, 9)),
        (["--after", "5", "-n", "2"], numbers(6, 7)),
        (["--from", "last:5", "--before", "7"], numbers(5, 6)),
        (["--reverse", "-n", "2", "--before", "9"], ["8", "7"]),
        (["--before", position.replace(":9", ":2")], ["1"]),
    ):
        done = shell.run("history", "history", *arguments, url=url)
        assert (done.code, done.lines, done.err) == (0, expected, "")


def test_no_such_channel_is_not_made(url: str) -> None:
    for _ in range(2):
        done = shell.run("history", "history-nope", url=url)
        assert done.code == Exit.REFUSED
        assert "unknown_channel" in done.err and "`outlast channels ls`" in done.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from", "latest"], "is for `outlast sub`"),
        (["--reverse", "--after", "1"], "leave out --after and --from"),
        (["--before", "x"], "neither an offset"),
    ],
)
def test_mistakes(url: str, arguments: list[str], text: str) -> None:
    done = shell.run("history", "ch", *arguments, url=url)
    assert done.code == Exit.USAGE
    assert text in " ".join(done.err.split())


def test_an_earlier_life_of_the_channel(url: str) -> None:
    fill(url, "history-life", 1)
    done = shell.run("history", "history-life", "--after", "00c0ffee00c0ffee:1", url=url)
    assert done.code == Exit.REFUSED
    assert "stale_epoch" in done.err
