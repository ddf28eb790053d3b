from __future__ import annotations

import json

import pytest
from outlast import EphemeralMessage
from outlast_cli.ephemeral import as_json, choose_render
from outlast_cli.exits import Exit

from . import shell
from .shell import fill

MESSAGE = EphemeralMessage({"on": True}, "typing", {"k": "v"}, "alice", 1_769_860_800_000)
TRIES_MAX = 200


def test_forms() -> None:
    assert choose_render(False, False)(MESSAGE) == b'{"on":true}\n'
    cells = choose_render(False, True)(MESSAGE).decode()
    assert "alice" in cells and "typing" in cells
    assert choose_render(True, True) is as_json
    assert json.loads(as_json(MESSAGE)) == {
        "time": "2026-01-31T12:00:00.000Z",
        "name": "typing",
        "client_id": "alice",
        "data": {"on": True},
        "headers": {"k": "v"},
    }
    assert "headers" not in json.loads(as_json(MESSAGE._replace(headers={})))


def test_what_is_told_is_heard_and_not_stored(url: str) -> None:
    fill(url, "ephemeral", 1)
    with shell.start("sub", "ephemeral", "--ephemeral", "-n", "2", "--json", url=url) as process:
        assert process.stdout is not None
        # Whoever comes late hears what is said from then on: it is said until it was heard twice.
        for _ in range(TRIES_MAX):
            told = shell.call("pub", "ephemeral", '{"on": 1}', "--json", "--name", "typing", "--ephemeral", url=url)
            assert told.code == 0
            info = json.loads(shell.call("channels", "info", "ephemeral", "--json", url=url).out)
            assert info["last"] == 1
            if process.poll() is not None:
                break
        assert process.wait(shell.TIMEOUT_S) == 0
        heard = [json.loads(line) for line in process.stdout]
    assert [(message["data"], message["name"]) for message in heard] == [({"on": 1}, "typing")] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["pub", "x", "-", "--ephemeral"],
        ["pub", "x", "y", "--ephemeral", "--if-offset", "1"],
        ["sub", "x", "--ephemeral", "--from", "earliest"],
        ["sub", "x", "--ephemeral", "--cursor", "c"],
        ["sub", "x", "--ephemeral", "--exit-at-end"],
    ],
)
def test_what_does_not_go_together(url: str, arguments: list[str]) -> None:
    done = shell.call(*arguments, url=url)
    assert done.code == Exit.USAGE and "--ephemeral" in done.err


def test_what_no_frame_holds_is_refused(url: str) -> None:
    done = shell.call("pub", "x", "y" * 70_000, "--ephemeral", url=url)
    assert done.code == Exit.REFUSED and "too_large" in done.err


def test_a_channel_that_does_not_exist_has_nobody_to_tell(url: str) -> None:
    done = shell.call("pub", "no such ephemeral channel", "x", "--ephemeral", url=url)
    assert done.code == Exit.REFUSED and "unknown_channel" in done.err
