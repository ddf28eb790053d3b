from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from outlast_cli.demo.child import Child, News

PART = """
import os, sys
from outlast_cli.demo.part import play, tell
import asyncio
async def main():
    tell("hello", url=os.environ.get("OUTLAST_URL", "none"), pid=os.getpid())
    print("just text")
    sys.stdout.flush()
    await asyncio.Event().wait()
play(main())
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "part_for_test.py").write_text(PART)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OUTLAST_URL", "outlast://elsewhere")
    return "part_for_test"


async def started(part: str) -> tuple[Child, list[News]]:
    """A child that has said its text."""
    spoken = asyncio.Event()
    news: list[News] = []
    child = Child("part", (part,), news.append, lambda text: spoken.set())
    await child.start()
    await asyncio.wait_for(spoken.wait(), 10)
    return child, news


def test_news_and_text(part: str) -> None:
    async def main() -> None:
        child, news = await started(part)
        assert news == [{"kind": "hello", "url": "none", "pid": child.pid}]
        assert list(child.noise) == ["just text"]
        assert child.is_running
        await child.kill()
        assert not child.is_running
        await child.finished()
        await child.kill()

    asyncio.run(main())


def test_a_stopped_one_can_be_killed(part: str) -> None:
    async def main() -> None:
        child, _ = await started(part)
        child.signal(signal.SIGSTOP)
        await asyncio.wait_for(child.kill(), 10)
        child.signal(signal.SIGCONT)

    asyncio.run(main())
