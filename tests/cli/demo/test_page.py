"""The page's server, spoken to as a browser would, and as other sites would like to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from outlast_cli.demo.page import TABS_MAX, Page
from outlast_cli.demo.scene import Scene
from outlast_cli.demo.screen import Screen
from outlast_cli.demo.tally import Account

ACCOUNT = {"records": 9, "gaps": 0, "repeats": 0, "sha256": "abc"}
PATIENCE_S = 10


class Visitor:
    """A page that is open, and a session of a browser that visits it. `pressed` is what its buttons did."""

    def __init__(self) -> None:
        self.pressed: list[tuple[str, str]] = []
        self.can_press = True
        self.scene = Scene(60)
        self.screen = Screen(self.scene)
        self.page = Page(self.scene, self.screen, self._press)
        self.browser: aiohttp.ClientSession

    def _press(self, deed: str, target: str) -> bool:
        self.pressed.append((deed, target))
        return self.can_press

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.browser.get(self.page.url + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, said: Any = None, **headers: str) -> int:
        headers.setdefault("Origin", self.page.origins[0])
        async with self.browser.post(self.page.url + path, json=said, headers=headers) as answer:
            return answer.status

    async def events(self, tab: str) -> list[tuple[str, Any]]:
        """All of them, to the end."""
        status, text = await self.get(f"events?tab={tab}")
        assert status == 200
        blocks = (dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n"))
        return [(block["event"], json.loads(block["data"])) for block in blocks]


def visit(job: Callable[[Visitor], Awaitable[None]]) -> None:
    async def main() -> None:
        visitor = Visitor()
        visitor.page.bind(0)
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as visitor.browser:
            await visitor.page.open(line_port=4242)
            try:
                await job(visitor)
            finally:
                await visitor.page.close()

    asyncio.run(main())


def test_its_files_and_nothing_else() -> None:
    async def job(visitor: Visitor) -> None:
        status, text = await visitor.get("")
        assert status == 200 and "<!doctype html>" in text
        for name in ("demo.js", "demo.css", "icon.svg"):
            assert f"/{name}?v=" in text
            assert (await visitor.get(name))[0] == 200
        for path in ("page.py", "..%2fpage.py", "%2e%2e/page.py", "x/y"):
            assert (await visitor.get(path))[0] == 404, path

    visit(job)


def test_it_may_speak_to_its_own_line_alone() -> None:
    async def job(visitor: Visitor) -> None:
        async with visitor.browser.get(visitor.page.url) as answer:
            policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "connect-src 'self' ws://127.0.0.1:4242/v1/ws;" in policy

    visit(job)


def test_buttons() -> None:
    async def job(visitor: Visitor) -> None:
        assert [await visitor.post(f"press/{name}") for name in ("page", "broker", "agent")] == [202] * 3
        assert visitor.pressed == [("cut", "page"), ("kill", "broker"), ("kill", "agent")]
        visitor.can_press = False
        assert await visitor.post("press/agent") == 409
        assert await visitor.post("press/everything") == 404

    visit(job)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"])
def test_other_names_for_this_machine_are_refused(host: str) -> None:
    async def job(visitor: Visitor) -> None:
        assert (await visitor.get("", Host=host))[0] == 403
        assert await visitor.post("press/broker", Host=host) == 403
        assert visitor.pressed == []

    visit(job)


def test_another_sites_page_presses_nothing() -> None:
    async def job(visitor: Visitor) -> None:
        for origin in ("https://evil.example", "null", visitor.page.origins[0] + "0", ""):
            assert await visitor.post("press/broker", Origin=origin) == 403
            assert await visitor.post("account?tab=a", ACCOUNT, Origin=origin) == 403
        assert visitor.pressed == []
        assert await visitor.page.accounts(1) == {}
        assert await visitor.post("press/broker", Origin=visitor.page.origins[1]) == 202

    visit(job)


def test_what_happens_is_told_to_the_end() -> None:
    async def job(visitor: Visitor) -> None:
        visitor.screen.say("broker: killed", "red")
        visitor.scene.agent.acknowledged = 7
        visitor.page.tell_verdict({"holds": True})
        (first, stage), (second, scene), (third, said), last = await visitor.events("a")
        assert (first, stage["url"], stage["tab"]) == ("stage", "ws://127.0.0.1:4242/v1/ws", "page, tab 1")
        assert (second, scene["agent"]["acknowledged"], scene["seconds"]) == ("scene", 7, 60)
        assert (third, said["text"], said["colour"]) == ("said", "broker: killed", "red")
        assert last == ("verdict", {"holds": True})

    visit(job)


def test_an_end_without_a_verdict_ends_the_events() -> None:
    async def job(visitor: Visitor) -> None:
        listening = asyncio.get_running_loop().create_task(visitor.events("a"))
        async with visitor.browser.get(f"{visitor.page.url}events?tab=b") as answer:
            await answer.content.readline()
            await visitor.page.close()
        assert [name for name, _ in await listening][:2] == ["stage", "scene"]

    visit(job)


def test_the_proof_waits_for_tabs_that_are_open_and_no_others() -> None:
    async def job(visitor: Visitor) -> None:
        assert await visitor.post("account?tab=a", ACCOUNT) == 204
        async with visitor.browser.get(f"{visitor.page.url}events?tab=b") as answer:
            await answer.content.readline()
            counting = asyncio.get_running_loop().create_task(visitor.page.accounts(PATIENCE_S))
            assert await visitor.post("account?tab=b", {**ACCOUNT, "gaps": 1}) == 204
            assert await counting == {"page, tab 1": Account(9, 0, 0, "abc"), "page, tab 2": Account(9, 1, 0, "abc")}

    visit(job)


def test_a_tab_that_sleeps_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    async def job(visitor: Visitor) -> None:
        async with visitor.browser.get(f"{visitor.page.url}events?tab=a") as answer:
            await answer.content.readline()
            assert await visitor.page.accounts(0) == {}

    visit(job)
    assert "is not counted" in capsys.readouterr().out


@pytest.mark.parametrize("said", [None, [], {}, {**ACCOUNT, "records": "many"}, {**ACCOUNT, "gaps": None}])
def test_accounts_that_are_none(said: Any) -> None:
    async def job(visitor: Visitor) -> None:
        assert await visitor.post("account?tab=a", said) == 400
        assert await visitor.page.accounts(1) == {}

    visit(job)


def test_tabs_are_bounded() -> None:
    async def job(visitor: Visitor) -> None:
        for tab in ("", "A", "x" * 41, "a b"):
            assert await visitor.post(f"account?tab={tab}", ACCOUNT) == 400
        for number in range(TABS_MAX):
            assert await visitor.post(f"account?tab={number:x}", ACCOUNT) == 204
        assert await visitor.post("account?tab=ffff", ACCOUNT) == 400
        assert await visitor.post("account?tab=0", ACCOUNT) == 204

    visit(job)
