from __future__ import annotations

import os
import pty
import subprocess

import pytest
from outlast_cli import terminal

from . import shell


def test_visible() -> None:
    assert terminal.visible("plain ü") == "plain ü"
    assert terminal.visible("a\x1b[31m\tb\u202ec") == "a\\x1b[31m\\tb\\u202ec"


def test_table_aligns() -> None:
    assert terminal.table(["name", "n"], [["a", "1"], ["long name", "1,000"]], right=[1]) == [
        "name           n",
        "a              1",
        "long name  1,000",
    ]


def on_terminal(url: str, channel: str, **more: str) -> str:
    """What `outlast sub` writes when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        arguments = ("sub", channel, "--from", "earliest", "-n", "1")
        process = subprocess.Popen(
            [*shell.COMMAND, *arguments], stdout=theirs, stderr=theirs, env=shell.environment(url, **more)
        )
        os.close(theirs)
        with process:
            seen = b""
            while not seen.endswith(b"\n"):
                seen += screen.read(4096)
            assert process.wait(shell.TIMEOUT_S) == 0
    return seen.decode()


@pytest.mark.parametrize(
    ("more", "has_colours"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)]
)
def test_colours_only_where_they_are_wanted(url: str, more: dict[str, str], has_colours: bool) -> None:
    channel = f"colours-{has_colours}"
    assert shell.run("pub", channel, "hello", "--name", "token", url=url).code == 0
    seen = on_terminal(url, channel, **more)
    assert "hello" in seen and "token" in seen
    assert ("\x1b[" in seen) is has_colours
