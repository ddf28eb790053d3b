"""The demo's page: its files, what happens on the stage as events, and four buttons' worth of requests.

The report itself does not come this way: the page reads it from the broker, as any page would, over a line that can
be cut. This server is for this machine's own pages only: a request that names another host, or that another site's page
has made, is refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from ..exits import Failure
from .part import CHANNEL, CONTROL
from .plan import AGENT, BROKER, PAGE, Deed
from .scene import Scene
from .screen import Screen
from .tally import Account

FILES = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# What each button does, and to whom.
BUTTONS: dict[str, tuple[Deed, str]] = {"page": ("cut", PAGE), "broker": ("kill", BROKER), "agent": ("kill", AGENT)}
NEWS_EVERY_S = 0.2
TABS_MAX = 32
_TAB = re.compile(r"[0-9a-f-]{1,40}")

Press = Callable[[Deed, str], bool]


class Tab:
    """`account` is what it saw, once it has seen the end. It is `open` as long as it listens."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.account: Account | None = None
        self.listeners = 0


class Page:
    """`press` is what a button does: True when it is done, False when it cannot be just now."""

    def __init__(self, scene: Scene, screen: Screen, press: Press) -> None:
        self._scene = scene
        self._screen = screen
        self._press = press
        self._tabs: dict[str, Tab] = {}
        self._line_url = ""
        self._verdict: dict[str, Any] | None = None
        self._is_over = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    # --- its life -----------------------------------------------------------------------------------------

    def bind(self, port: int) -> None:
        """Takes the port, so that it is known."""
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError as error:
            text = f"the page cannot be at port {port}: {error.strerror}; give another --page-port, or 0 for a free one"
            raise Failure(text) from None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def origins(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}"

    async def open(self, line_port: int) -> None:
        """Serves; the page's own connection to the broker goes through `line_port`."""
        self._line_url = f"ws://127.0.0.1:{line_port}/v1/ws"
        application = web.Application(middlewares=[self._at_home])
        application.router.add_get("/", self._file)
        application.router.add_get("/events", self._events)
        application.router.add_get("/{file}", self._file)
        application.router.add_post("/press/{button}", self._pressed)
        application.router.add_post("/account", self._accounted)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        """Whoever listens is told everything first."""
        self._is_over.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()

    async def accounts(self, timeout_s: float) -> dict[str, Account]:
        """What the tabs saw, as soon as all that are open have seen the end."""
        try:
            async with asyncio.timeout(timeout_s):
                while any(tab.listeners and tab.account is None for tab in self._tabs.values()):
                    await asyncio.sleep(NEWS_EVERY_S)
        except TimeoutError:
            self._screen.say("page: a tab that is open has not seen the end in time, and is not counted", "yellow")
        return {tab.name: tab.account for tab in self._tabs.values() if tab.account is not None}

    def tell_verdict(self, verdict: dict[str, Any]) -> None:
        self._verdict = verdict

    # --- requests -----------------------------------------------------------------------------------------

    @web.middleware
    async def _at_home(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Other names for this machine are how other sites get in (DNS rebinding); other origins are other sites."""
        if f"http://{request.host}" not in self.origins:
            raise web.HTTPForbidden(text=f"this page is at {self.url}\n")
        if request.method != "GET" and request.headers.get("Origin") not in self.origins:
            raise web.HTTPForbidden(text=f"only the page at {self.url} may ask for this\n")
        response: web.StreamResponse = await handler(request)
        return response

    def _headers(self) -> dict[str, str]:
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {self._line_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }

    async def _file(self, request: web.Request) -> web.Response:
        path = FILES / request.match_info.get("file", INDEX)
        if path.parent != FILES or not path.is_file():
            raise web.HTTPNotFound(text=f"the page is at {self.url}\n")
        content_type = TYPES.get(path.suffix, "application/octet-stream")
        return web.Response(body=path.read_bytes(), content_type=content_type, charset="utf-8", headers=self._headers())

    async def _pressed(self, request: web.Request) -> web.Response:
        try:
            deed, target = BUTTONS[request.match_info["button"]]
        except KeyError:
            raise web.HTTPNotFound(text=f"there is no such button, but {', '.join(BUTTONS)}\n") from None
        if not self._press(deed, target):
            raise web.HTTPConflict(text="not now: it is broken already, or the run is over\n")
        return web.Response(status=202)

    async def _accounted(self, request: web.Request) -> web.Response:
        tab = self._tab(request)
        try:
            said = await request.json()
            records, gaps, repeats = (int(said[name]) for name in ("records", "gaps", "repeats"))
            tab.account = Account(records, gaps, repeats, str(said["sha256"])[:64])
        except (ValueError, TypeError, LookupError):
            raise web.HTTPBadRequest(text="expected JSON with records, gaps, repeats and sha256\n") from None
        return web.Response(status=204)

    def _tab(self, request: web.Request) -> Tab:
        """The tab that asks, by a name that it has drawn."""
        name = request.query.get("tab", "")
        if not _TAB.fullmatch(name) or (name not in self._tabs and len(self._tabs) >= TABS_MAX):
            raise web.HTTPBadRequest(text=f"tab is to be 1 to 40 of 0-9, a-f and -, for at most {TABS_MAX} tabs\n")
        return self._tabs.setdefault(name, Tab(f"page, tab {len(self._tabs) + 1}"))

    # --- events -------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        tab = self._tab(request)
        response = web.StreamResponse(headers={**self._headers(), "Content-Type": "text/event-stream"})
        await response.prepare(request)
        tab.listeners += 1
        try:
            with suppress(ConnectionResetError):
                await self._tell(response, tab)
        finally:
            tab.listeners -= 1
        return response

    async def _tell(self, response: web.StreamResponse, tab: Tab) -> None:
        """What the stage is, and from then on what has changed, until it is over."""
        told: dict[str, Any] = {}
        lines = 0
        await _send(response, "stage", self._stage(tab))
        while True:
            is_last = self._is_over.is_set()
            scene = {"elapsed_s": round(self._screen.elapsed_s, 1), **asdict(self._scene)}
            if scene != told:
                await _send(response, "scene", scene)
                told = scene
            for said in self._screen.said[lines:]:
                await _send(response, "said", said._asdict())
            lines = len(self._screen.said)
            if self._verdict is not None:
                await _send(response, "verdict", self._verdict)
            if self._verdict is not None or is_last:
                return
            await _wait(self._is_over, NEWS_EVERY_S)

    def _stage(self, tab: Tab) -> dict[str, Any]:
        return {"url": self._line_url, "channel": CHANNEL, "control": CONTROL, "tab": tab.name}


async def _send(response: web.StreamResponse, event: str, data: dict[str, Any]) -> None:
    await response.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())


async def _wait(event: asyncio.Event, at_most_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), at_most_s)
    except TimeoutError:
        return
