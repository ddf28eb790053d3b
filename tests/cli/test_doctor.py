from __future__ import annotations

import json
from pathlib import Path

from outlast_broker.care.finding import Level, error, note, ok, warning
from outlast_cli.doctor import CLOCKS_APART_MS, exit_code, judge_status

from . import shell

STATUS = {"server": "outlast/1", "refusing": "", "time_ms": 10_000, "damaged": 0}


def test_a_broker_in_order(url: str, data: Path) -> None:
    done = shell.run("doctor", "--data", str(data), "--json", url=url)
    findings = [json.loads(line) for line in done.lines]
    assert done.code == 0, done
    assert {each["about"] for each in findings} >= {"configuration", "broker", "disk", "contents", "broker answers"}
    assert {each["level"] for each in findings} <= {"ok", "note"}
    told = shell.run("doctor", "--data", str(data), url=url)
    assert told.code == 0 and "ok       broker answers: outlast" in told.out


def test_what_is_wrong_is_said_and_decides_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "outlast.toml").write_text("nonsense = 1\n")
    done = shell.run("doctor", "--config", str(tmp_path / "outlast.toml"), "--data", str(tmp_path / "nowhere"),
                     "--connect-timeout", "10ms", url=f"outlast+unix://{tmp_path}/socket")  # fmt: skip
    assert done.code == 78, done
    assert "error    configuration: " in done.out and "nonsense" in done.out
    assert "error    data folder: " in done.out and "warning  broker answers: none at" in done.out
    assert done.out.count("\n         Do: ") == 3
    bad = shell.run("doctor", "--data", str(tmp_path / "nowhere"), url="nonsense://x")
    assert bad.code == 69 and "That is no address." in bad.out


def test_in_memory_is_worth_a_note(tmp_path: Path) -> None:
    done = shell.run(
        "doctor", "--connect-timeout", "10ms", OUTLAST_MEMORY="1", OUTLAST_URL=f"outlast+unix://{tmp_path}/s"
    )
    assert done.code == 1 and "keeps everything in memory" in done.out


def test_what_a_broker_says_of_itself_is_judged() -> None:
    assert [each.level for each in judge_status("u", STATUS, 10_000)] == [Level.OK, Level.OK]
    late = list(judge_status("u", STATUS, 10_000 + CLOCKS_APART_MS + 1))
    assert late[1].level is Level.WARNING and late[1].what == "the broker's is -5,001 ms from this machine's"
    bad = list(judge_status("u", STATUS | {"refusing": "read_only: full", "damaged": 3}, 10_000))
    assert [each.about for each in bad if each.level is Level.ERROR] == ["read-only", "damage"]


def test_the_worst_finding_is_the_exit_code() -> None:
    assert exit_code([]) == exit_code([ok("a", "b"), note("a", "b", "c", "d")]) == 0
    assert exit_code([ok("a", "b"), warning("a", "b", "c", "d")]) == 1
    assert exit_code([error("a", "b", "c", "d", 74), error("a", "b", "c", "d", 65)]) == 74
