from __future__ import annotations

import asyncio

import pytest
from outlast_cli.demo import screen as screen_module
from outlast_cli.demo.scene import Scene
from outlast_cli.demo.screen import Screen


async def show(screen: Screen) -> None:
    """A frame, a line of the log, another frame."""
    showing = asyncio.get_running_loop().create_task(screen.run())
    await asyncio.sleep(0)
    screen.say("something happened")
    screen.say_check("no gaps", False)
    showing.cancel()
    await asyncio.wait({showing})
    screen.clear()


def test_a_plain_log(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        await show(Screen(Scene(60)))

    asyncio.run(main())
    out = capsys.readouterr().out
    assert "\x1b" not in out
    first, second, third = out.splitlines()
    assert "broker starting" in first
    assert second.endswith(" s  something happened")
    assert third.split() == ["FAILS", "no", "gaps"]


def test_a_live_panel_makes_room_for_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_module, "is_terminal", lambda: True)

    async def main() -> None:
        await show(Screen(Scene(60)))

    asyncio.run(main())
    before, after = capsys.readouterr().out.split("\x1b[4F\x1b[J")
    assert before.count("\n") == 4
    assert "something happened" in after
