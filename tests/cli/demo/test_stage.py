"""The demo itself, shortened: everything in it is real."""

from __future__ import annotations

import os
import re
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from outlast_cli.exits import Exit

from tests.support.web import Events, WebClient

from .. import shell

DEMO_TIMEOUT_S = 60


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def pids_in(text: str) -> list[int]:
    return [int(pid) for pid in re.findall(r": process (\d+)", text)]


def test_a_short_demo_proves_itself(tmp_path: Path) -> None:
    with shell.start("demo", "--seconds", "8", TMPDIR=str(tmp_path)) as demo:
        out, err = (raw.decode() for raw in demo.communicate(timeout=DEMO_TIMEOUT_S))
    assert (demo.returncode, err) == (Exit.OK, ""), out
    assert "PROVED" in out and "FAILS" not in out
    assert "broker: killed (SIGKILL)" in out and "viewer A: connection cut" in out and "stopped (SIGSTOP)" in out
    table = re.findall(r"^(agent|viewer A|viewer B|history)\D+([\d,]+) +0 +0   ([0-9a-f]{16})\.\.\.$", out, re.M)
    assert [row[0] for row in table] == ["agent", "viewer A", "viewer B", "history"]
    assert len({row[1:] for row in table}) == 1
    assert int(table[0][1].replace(",", "")) > 500
    assert re.search(r"viewer [AB] back: replayed [\d,]+ records? from [\d,]+", out)
    assert len(pids_in(out)) == 4 and not any(map(is_alive, pids_in(out)))
    assert list(tmp_path.iterdir()) == []


def until_agent_writes(page_port: int) -> None:
    watcher = WebClient(page_port)
    with closing(watcher.events("/events?tab=1").response) as response:
        events = Events(response)
        while (event := events.next()).name != "scene" or event.data["agent"]["acknowledged"] < 100:
            pass
    watcher.close()


def test_an_agent_that_is_killed_is_succeeded_in_mid_sentence(tmp_path: Path) -> None:
    with shell.start("demo", "--seconds", "8", TMPDIR=str(tmp_path)) as demo:
        assert demo.stdout is not None
        seen = ""
        while not (page := re.search(r"page: http://127\.0\.0\.1:(\d+)/", seen)):
            seen += demo.stdout.readline().decode()
        until_agent_writes(int(page[1]))
        person, origin = WebClient(int(page[1])), f"http://127.0.0.1:{page[1]}"
        assert person.ask("POST", "/press/agent", b"", Origin=origin).status == 202
        assert person.ask("POST", "/press/agent", b"", Origin=origin).status == 409
        person.close()
        out, err = (raw.decode() for raw in demo.communicate(timeout=DEMO_TIMEOUT_S))
    assert (demo.returncode, err) == (Exit.OK, ""), out
    assert "agent: killed (SIGKILL)" in out and "agent: started again" in out
    assert "holds  what agents that were killed had been promised is there, unchanged" in out
    assert re.search(r"PROVED  The broker was killed \d+ times?, the agent 1 time;", out)


def test_a_page_whose_port_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = shell.run("demo", "--page-port", str(taken.getsockname()[1]))
    assert done.code == Exit.REFUSED
    assert re.fullmatch(r"outlast: the page cannot be at port \d+: .+; give another --page-port, .+\n", done.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with shell.start("demo", "--seconds", "60", TMPDIR=str(tmp_path)) as demo:
        assert demo.stdout is not None and demo.stderr is not None
        seen = ""
        while len(pids_in(seen)) < 4:
            seen += demo.stdout.readline().decode()
        assert all(map(is_alive, pids_in(seen)))
        demo.send_signal(number)
        assert demo.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
        assert demo.stderr.read() == b""
    assert not any(map(is_alive, pids_in(seen)))
    assert list(tmp_path.iterdir()) == []


def test_a_dead_agent_fails_the_proof(tmp_path: Path) -> None:
    with shell.start("demo", "--seconds", "60", TMPDIR=str(tmp_path)) as demo:
        assert demo.stdout is not None
        seen = ""
        while "agent: process" not in seen:
            seen += demo.stdout.readline().decode()
        os.kill(pids_in(seen)[-1], signal.SIGKILL)
        out, err = (raw.decode() for raw in demo.communicate(timeout=shell.TIMEOUT_S))
    assert (demo.returncode, err) == (Exit.REFUSED, "")
    assert "FAILED" in out and "not agent, viewer A, viewer B" in out
    assert not any(map(is_alive, pids_in(seen)))
