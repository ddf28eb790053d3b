from __future__ import annotations

import asyncio

import pytest
from outlast_cli.demo.hand import Hand
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


def hand_of(log: list[str]) -> Hand:
    return Hand({name: Victim(name, log) for name in ("broker", "viewer A")}, Screen(Scene(1)))


def test_everything_broken_is_mended(capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []

    async def main() -> None:
        await hand_of(log).carry_out([Act(0, "cut", "viewer A", 0), Act(0, "kill", "broker", 0)])

    asyncio.run(main())
    assert log == ["cut viewer A", "mend viewer A", "kill broker", "mend broker"]
    out = capsys.readouterr().out
    assert "viewer A: connection cut" in out and "broker: started again" in out


def test_who_suffers_already_is_not_free() -> None:
    log: list[str] = []

    async def main() -> None:
        hand = hand_of(log)
        first = asyncio.get_running_loop().create_task(hand.strike("kill", "broker", 0))
        await asyncio.sleep(0)
        assert not hand.is_free("broker") and hand.is_free("viewer A")
        await hand.strike("kill", "broker", 0)
        await first

    asyncio.run(main())
    assert log == ["kill broker", "mend broker"] * 2


def test_a_hand_that_rests_has_mended_everything_and_breaks_nothing() -> None:
    log: list[str] = []

    async def main() -> None:
        hand = hand_of(log)
        first = asyncio.get_running_loop().create_task(hand.strike("cut", "viewer A", 0))
        await asyncio.sleep(0)
        await hand.rest()
        assert log == ["cut viewer A", "mend viewer A"] and not hand.is_free("broker")
        await hand.strike("kill", "broker", 0)
        await first

    asyncio.run(main())
    assert log == ["cut viewer A", "mend viewer A"]
