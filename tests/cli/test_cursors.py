from __future__ import annotations

import json
from datetime import UTC, datetime

from outlast import Cursor
from outlast_cli.cursors import show_cursors
from outlast_cli.exits import Exit

from . import shell
from .shell import fill

ROWS = [
    Cursor("phone", 1200, 3, datetime(2026, 1, 31, 12, tzinfo=UTC)),
    Cursor("tab", 0, 1203, datetime(2026, 2, 1, tzinfo=UTC)),
]


def test_lists() -> None:
    head, first, _ = show_cursors(ROWS, False, True)
    assert head.split() == ["cursor", "offset", "lag", "acked"]
    assert first.split()[:3] == ["phone", "1,200", "3"]
    assert show_cursors(ROWS, False, False)[1].startswith("tab\t0\t1203\t2026-0")
    assert json.loads(show_cursors(ROWS, True, True)[0]) == {
        "cursor": "phone",
        "offset": 1200,
        "lag": 3,
        "acked_ms": 1_769_860_800_000,
    }


def test_ls_and_rm(url: str) -> None:
    fill(url, "cursors-ls", 5)
    assert shell.run("sub", "cursors-ls", "--cursor", "phone", "-n", "3", url=url).lines == ["1", "2", "3"]
    [line] = shell.call("cursors", "ls", "cursors-ls", url=url).lines
    assert line.split("\t")[:3] == ["phone", "3", "2"]
    [found] = map(json.loads, shell.call("cursors", "ls", "cursors-ls", "--json", url=url).lines)
    assert (found["cursor"], found["offset"], found["lag"]) == ("phone", 3, 2)
    done = shell.call("cursors", "rm", "cursors-ls", "phone", url=url)
    assert (done.code, done.out, done.err) == (0, "", "outlast: forgot phone, which stood at 3\n")
    assert shell.call("cursors", "ls", "cursors-ls", url=url).out == ""


def test_what_does_not_exist_is_refused(url: str) -> None:
    fill(url, "cursors-none", 1)
    done = shell.call("cursors", "rm", "cursors-none", "phone", url=url)
    assert done.code == Exit.REFUSED and "`outlast cursors ls` shows those that exist" in done.err
    assert shell.call("cursors", "ls", "no such channel", url=url).code == Exit.REFUSED


def test_names_that_cannot_be_are_wrong_usage(url: str) -> None:
    assert shell.call("cursors", "rm", "room", "", url=url).code == Exit.USAGE
    assert shell.call("sub", "room", "--cursor", "x" * 129, url=url).code == Exit.USAGE
