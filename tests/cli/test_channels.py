from __future__ import annotations

import json

import pytest
from outlast import ChannelSummary, Retention
from outlast_cli.channels import show_list, show_retention, show_time
from outlast_cli.exits import Exit

from . import shell
from .shell import fill

ROWS = [ChannelSummary("a", 0xC0FFEE, 3, 1202, 2048, 1_769_860_800_000, 2, 1), ChannelSummary("b", 1, 1, 0, 0, 0, 0, 0)]


def test_lists() -> None:
    head, first, second = show_list(ROWS, False, True)
    assert head.split() == ["channel", "records", "size", "last"]
    assert first.split()[:4] == ["a", "1,200", "2.0", "KiB"]
    assert second.split() == ["b", "0", "0", "B", "-"]
    assert show_list(ROWS, False, False)[1] == "b\t0\t0\t-"
    assert json.loads(show_list(ROWS, True, True)[0]) == {
        "channel": "a",
        "records": 1200,
        "first": 3,
        "last": 1202,
        "position": "0000000000c0ffee:1202",
        "bytes": 2048,
        "last_ms": 1_769_860_800_000,
        "subscribers": 2,
        "members": 1,
    }


def test_words() -> None:
    assert show_time(0) == "-"
    assert show_time(1_769_860_800_000).startswith("2026-01-31T")
    assert show_retention(Retention(0, 0, 0, 0)) == "no bounds"
    bounds = show_retention(Retention(3_600_000, 1, 1 << 20, 86_400_000))
    assert bounds == "age 1h, 1 record, 1.0 MiB, deleted when idle for 1d"


def test_ls_and_info(url: str) -> None:
    position = fill(url, "ls:one", 3)
    fill(url, "ls:two", 1)
    lines = shell.call("channels", "ls", "ls:", url=url).lines
    assert [line.split("\t")[:2] for line in lines] == [["ls:one", "3"], ["ls:two", "1"]]
    assert shell.call("channels", "ls", "no such", url=url).out == ""
    found = json.loads(shell.call("channels", "info", "ls:one", "--json", url=url).out)
    assert (found["name"], found["last"], found["position"]) == ("ls:one", 3, position)
    assert f"position     {position}" in shell.call("channels", "info", "ls:one", url=url).lines


def test_rm(url: str) -> None:
    fill(url, "rm:a", 1)
    fill(url, "rm:b", 1)
    done = shell.call("channels", "rm", "rm:a", "rm:b", url=url)
    assert (done.code, done.out, done.err) == (0, "", "outlast: deleted rm:a\noutlast: deleted rm:b\n")
    assert shell.call("channels", "rm", "rm:a", url=url).code == Exit.REFUSED


def test_truncate(url: str) -> None:
    position = fill(url, "trim", 5)
    assert shell.call("channels", "truncate", "trim", "--before", "3", url=url).out == "3\n"
    assert shell.call("channels", "truncate", "trim", "--before", position, url=url).out == "5\n"
    other = shell.call("channels", "truncate", "trim", "--before", "00c0ffee00c0ffee:6", url=url)
    assert (other.code, "earlier life" in other.err) == (Exit.REFUSED, True)
    assert shell.run("history", "trim", url=url).lines == ["5"]


def test_configure(url: str) -> None:
    fill(url, "configure", 1)
    set_both = shell.call("channels", "configure", "configure", "--retain-records", "5", "--retain-age", "7d", url=url)
    assert (set_both.code, set_both.out) == (0, "age 7d, 5 records\n")
    back = shell.call("channels", "configure", "configure", "--retain-age", "default", url=url)
    assert back.out == "5 records\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["configure", "x"], "nothing to change"),
        (["configure", "x", "--retain-age", "soon"], "0 for no bound, or default"),
        (["truncate", "x"], "Missing option '--before'"),
        (["truncate", "x", "--before", "y"], "neither an offset"),
        (["rm"], "Missing argument"),
        (["ls", "\n"], "control character"),
    ],
)
def test_mistakes(url: str, arguments: list[str], text: str) -> None:
    done = shell.call("channels", *arguments, url=url)
    assert done.code == Exit.USAGE
    assert text in " ".join(done.err.split())


def test_a_hard_delete_says_that_nothing_is_left(url: str) -> None:
    fill(url, "erased", 10)
    done = shell.call("channels", "rm", "--yes", "--hard", "erased", url=url)
    assert (done.code, done.err) == (0, "outlast: deleted erased, and nothing of it is left in the file\n")
