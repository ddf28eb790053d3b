from __future__ import annotations

import asyncio

import pytest
from outlast_cli.demo.hand import carry_out
from outlast_cli.demo.plan import Act, Deed
from outlast_cli.demo.scene import Scene
from outlast_cli.demo.screen import Screen


class Victim:
    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    async def suffer(self, deed: Deed) -> None:
        self._log.append(f"{deed} {self._name}")

    async def recover(self, deed: Deed) -> None:
        self._log.append(f"mend {self._name}")


def test_everything_broken_is_mended(capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []

    async def main() -> None:
        screen = Screen(Scene(1))
        victims = {name: Victim(name, log) for name in ("broker", "viewer A")}
        await carry_out([Act(0, "cut", "viewer A", 0), Act(0, "kill", "broker", 0)], victims, screen)

    asyncio.run(main())
    assert log == ["cut viewer A", "mend viewer A", "kill broker", "mend broker"]
    out = capsys.readouterr().out
    assert "viewer A: connection cut" in out and "broker: started again" in out
