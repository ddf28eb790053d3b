"""The examples, as a reader would run them: as processes, against a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from outlast_protocol.frames import Claim

from tests.support.broker import PATIENCE_S, broker_process, running_broker, socket_path
from tests.support.tree import ROOT

EXAMPLES = ROOT / "examples"
STEPS = int((EXAMPLES / "lease.py").read_text().split("STEPS = ")[1].split()[0])
TOKENS = (EXAMPLES / "agent.py").read_text().split('"""\\\n')[1].split('"""')[0].split()


@contextmanager
def example(name: str, path: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end, or when it takes so long that something must be wrong."""
    command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / name), *arguments]
    env = os.environ | {"OUTLAST_URL": f"outlast+unix://{path}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        patience = threading.Timer(PATIENCE_S, process.kill)
        patience.start()
        try:
            yield process
        finally:
            patience.cancel()
            process.kill()


def finish(process: subprocess.Popen[str]) -> list[str]:
    """The lines that were not read yet, once it has ended by itself and without a complaint."""
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


def lines(pipe: IO[str] | None, count: int) -> list[str]:
    assert pipe is not None
    return [pipe.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture
def path() -> Iterator[str]:
    with running_broker() as broker:
        yield broker.path


def test_quickstart(path: str) -> None:
    said = ["complete 'Leave, come back, get exactly the rest.'", "6 {'tool': 'search', 'query': 'LMDB'}"]
    for _ in range(2):
        with example("quickstart.py", path) as process:
            assert finish(process) == said


def test_receipts(path: str) -> None:
    for first in (1, 3):
        with example("receipts.py", path) as process:
            said = finish(process)
        assert said[:2] == [f"agent: {first + n} is not read yet, the phone has {first - 1}" for n in range(2)]
        assert said[-1] == f"phone: has {first + 1}, 0 to come"
        shown = [line for line in said[2:-1] if line.startswith("phone")]
        assert shown == ["phone: The build is done.", "phone: Shall I deploy it?"]
        assert f"agent: {first + 1} is read" in said


def test_who_waits_for_the_lease_goes_on_where_the_other_was_killed() -> None:
    with running_broker() as broker, example("lease.py", broker.path, "work") as first:
        one = f"agent-{first.pid}"
        assert lines(first.stdout, 2) == [f"{one}: waits for the lease", f"{one}: has the lease"]
        with example("lease.py", broker.path, "work") as second:
            other = f"agent-{second.pid}"
            assert lines(second.stdout, 1) == [f"{other}: waits for the lease"]
            first.kill()
            assert finish(second) == [f"{other}: has the lease", f"{other}: all {STEPS} steps are done"]
        reader = broker.client("reader")
        reader.subscribe(reader.open("work").number)
        records = reader.records(STEPS + 1)
    [lapse] = [record for record in records if record.operation is not None]
    steps = [(record.client_id, record.decoded()) for record in records if record is not lapse]
    assert steps == [(one if step < lapse.offset else other, step) for step in range(1, STEPS + 1)]


def test_two_ways(path: str) -> None:
    for _ in range(2):
        with example("two_ways.py", path) as process:
            said = finish(process)
        assert [line for line in said if line.startswith("agent")] == [
            "agent: takes 'Count as far as you can'",
            "agent: stopped by person: that is far enough",
            "agent: does not pay: it is free elsewhere",
        ]
        assert [line for line in said if line.startswith("person")] == [
            "person: the prompt was accepted by agent",
            "person: the cancel was accepted by agent",
            "person: is asked 'May I pay 5 for the result?'",
        ]


def test_claims(path: str) -> None:
    paid = [f"agent-{index}: {{'order': 42, 'charged': '9.90 EUR'}}" for index in (1, 2)]
    with example("claims.py", path) as process:
        charged, *said = finish(process)
    assert charged == "charging order 42, attempt 1" and sorted(said) == paid
    with example("claims.py", path) as process:
        assert sorted(finish(process)) == paid


def test_an_order_whose_agent_was_killed_is_charged_by_the_next() -> None:
    with running_broker() as broker:
        dead = broker.client("agent-0")
        number = dead.open("session:claims").number
        assert dead.result(Claim(dead.request(), number, "charge:42", 1_000))["status"] == "granted"
        dead.close()
        with example("claims.py", broker.path) as process:
            assert finish(process)[0] == "charging order 42, attempt 2"


def test_presence(path: str) -> None:
    with example("presence.py", path) as process:
        said = finish(process)
    assert [line for line in said if line.startswith("is anybody")] == [
        "is anybody there? False",
        "is anybody there? True",
    ]
    works, pauses = "agent: somebody is there, I work", "agent: nobody is there, I pause"
    assert [line for line in said if line.startswith("agent")] == [works, pauses] * 2
    assert "person: left {'device': 'laptop', 'reading': True}" in said
    assert "person: present {'device': 'phone'}" in said


def test_state(path: str) -> None:
    steps = ["plan", "review", "search", "write"]
    for _ in range(2):
        with example("state.py", path) as process:
            *said, last = finish(process)
        lines = [line.split(" (")[0] for line in said]
        for word in ("taken", "done"):
            assert sorted(line for line in lines if line.endswith(f": {word}")) == [f"{step}: {word}" for step in steps]
        assert [line for line in lines if line.startswith("done")] == [f"done: {count}" for count in range(1, 5)]
        assert last == "4 of 4 steps are done"


def test_growing(path: str) -> None:
    for _ in range(2):
        with example("growing.py", path) as process:
            first, *rest, closed, whole = finish(process)
        text = "Offsets are dense , so a reader can prove that it missed nothing . "
        assert first == "open: Offsets are dense , so a reader can "
        assert "".join(line.removeprefix("open: ") for line in rest) == text.removeprefix(first[6:])
        assert (closed, whole) == (f"complete, {len(text)} letters", f"answer: {text}")


def test_the_agent_publishes_all_its_work(path: str) -> None:
    with example("agent.py", path, "work") as agent:
        assert finish(agent) == [f"0 of {len(TOKENS)} tokens are on disk", f"all {len(TOKENS)} tokens are on disk"]
    with example("agent.py", path, "work") as agent:
        assert finish(agent)[0] == f"{len(TOKENS)} of {len(TOKENS)} tokens are on disk"


def test_agent_watcher_and_broker_die_and_come_back(tmp_path: Path) -> None:
    """Each is killed in the middle of the work; the watcher has shown every token, once, at the end."""
    bookmark = str(tmp_path / "position")
    with socket_path() as path:
        with broker_process(tmp_path / "data", path), example("watcher.py", path, "work", bookmark) as watcher:
            with example("agent.py", path, "work") as agent:
                seen = lines(watcher.stdout, 5)
                agent.kill()
            with example("agent.py", path, "work") as agent:
                seen += lines(watcher.stdout, 5)
                watcher.kill()
                out, _ = watcher.communicate(timeout=PATIENCE_S)
                seen += out.splitlines()
        with broker_process(tmp_path / "data", path), example("watcher.py", path, "work", bookmark) as watcher:
            with example("agent.py", path, "work") as agent:
                finish(agent)
            [line] = lines(watcher.stdout, 1)
            seen += [] if line == seen[-1] else [line]
            seen += lines(watcher.stdout, len(TOKENS) - len(seen))
            watcher.send_signal(signal.SIGINT)
            assert finish(watcher) == []
    assert seen == [f"{offset} {token}" for offset, token in enumerate(TOKENS, start=1)]


def test_an_agent_works_through_the_end_of_its_broker(tmp_path: Path) -> None:
    with (
        socket_path() as path,
        broker_process(tmp_path / "data", path) as broker,
        example("watcher.py", path, "work", str(tmp_path / "position")) as watcher,
        example("agent.py", path, "work") as agent,
    ):
        seen = lines(watcher.stdout, 5)
        broker.kill()
        with broker_process(tmp_path / "data", path):
            seen += lines(watcher.stdout, len(TOKENS) - 5)
            finish(agent)
    assert [line.split(" ", 1)[1] for line in seen] == TOKENS


def test_a_watcher_that_comes_too_late_is_told(path: str, tmp_path: Path) -> None:
    bookmark = tmp_path / "position"
    with running_broker(path=f"{path}2") as broker:
        author = broker.client("author")
        opened = author.open("work")
        author.publish(opened.number, *["one", "two", "three"])
        bookmark.write_text(f"{opened.epoch ^ 1:016x}:2")
        with example("watcher.py", broker.path, "work", str(bookmark)) as watcher:
            assert lines(watcher.stdout, 4) == ["(records are missing here: recreated)", "1 one", "2 two", "3 three"]
            watcher.send_signal(signal.SIGINT)
            assert finish(watcher) == []
    assert bookmark.read_text() == f"{opened.epoch:016x}:3"
