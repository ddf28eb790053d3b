from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from outlast_cli.demo.child import News
from outlast_cli.demo.line import Line
from outlast_cli.demo.roles import Agent, Viewer, return_text
from outlast_cli.demo.scene import AgentView, Scene, ViewerView
from outlast_cli.demo.screen import Screen
from outlast_cli.demo.tally import Account

ACCOUNT = {"records": 9, "gaps": 0, "repeats": 0, "sha256": "abc"}


def test_returns_in_words() -> None:
    assert return_text(5310, 1204) == "back: replayed 1,204 records from 5,310"
    assert return_text(5310, 0) == "back: had missed nothing before 5,310"


def agent_that_heard(*news: News) -> Agent:
    async def main() -> Agent:
        agent = Agent("outlast://x", 60, 1, AgentView(), Screen(Scene(60)))
        for each in news:
            agent._heard(dict(each))
        return agent

    return asyncio.run(main())


def test_the_agent_works_on_without_a_broker(capsys: pytest.CaptureFixture[str]) -> None:
    news: list[News] = [{"kind": "state", "state": state} for state in ("connecting", "open", "waiting", "connecting")]
    progress: News = {
        "kind": "progress",
        "written": 12,
        "acknowledged": 2,
        "file": "ast.py",
        "sha256": "",
        "duplicates": 0,
    }
    agent = agent_that_heard(*news, progress)
    assert (agent.view.state, agent.view.written, agent.account) == ("alone", 12, None)
    agent = agent_that_heard(*news, progress, {"kind": "state", "state": "open"})
    assert agent.view.state == "writing"
    assert "the broker is back, sends 10 records not acknowledged so far" in capsys.readouterr().out


def test_the_agents_account() -> None:
    agent = agent_that_heard({"kind": "end", "duplicates": 3, **ACCOUNT})
    assert (agent.account, agent.duplicates, agent.view.state) == (Account(9, 0, 0, "abc"), 3, "done")


def test_a_viewers_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        viewer = Viewer("viewer A", Line(1), tmp_path, ViewerView(), Screen(Scene(60)))
        viewer._heard({"kind": "progress", "offset": 7, "gaps": 1, "repeats": 2, "tail": "text"})
        assert (viewer.view.offset, viewer.view.gaps, viewer.view.repeats, viewer.view.tail) == (7, 1, 2, "text")
        viewer._heard({"kind": "resync", "reason": "trimmed"})
        viewer._heard({"kind": "back", "first": 3, "replayed": 4})
        assert viewer.account is None
        viewer._heard({"kind": "end", **ACCOUNT})
        assert viewer.account == Account(9, 0, 0, "abc")

    asyncio.run(main())
    out = capsys.readouterr().out
    assert "viewer A: RESYNC, the channel was trimmed" in out and "viewer A back: replayed 4 records from 3" in out
