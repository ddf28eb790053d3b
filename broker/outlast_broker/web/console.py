"""The console: a page that speaks the protocol as every client does (docs/console.md). Here it is but files.

They are built from clients/web into `page/`. A file's address there says what is in it (`?v=`), so who has it
never asks again; the page itself is asked for each time, and says which files are its own.
"""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from .problem import Problem
from .visit import Visit

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Nothing but its own files and its own broker: no other site, no script in the page, and no page around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
ASK_EACH_TIME = "no-cache"
KEEP = "public, max-age=31536000, immutable"


class PageFile(NamedTuple):
    """`version` is what the page's address of this file says (clients/web/build.js)."""

    content: bytes
    packed: bytes
    content_type: str
    version: str


@cache
def page_files() -> dict[str, PageFile]:
    return {path.name: _read(path) for path in FOLDER.iterdir()}


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    packed = gzip.compress(content, mtime=0)
    return PageFile(content, packed, TYPES[path.suffix], sha256(content).hexdigest()[:16])


async def get_console(visit: Visit) -> web.Response:
    return _answer(visit, page_files()[INDEX], ASK_EACH_TIME)


async def get_console_file(visit: Visit) -> web.Response:
    name = visit.values["file"]
    file = page_files().get(name)
    if file is None or name == INDEX:
        raise Problem(404, "no_such_path", f"the console has no file {name[:100]!r}", "it is at /")
    return _answer(visit, file, KEEP if visit.text("v") == file.version else ASK_EACH_TIME)


def _answer(visit: Visit, file: PageFile, cache_control: str) -> web.Response:
    if not visit.engine.config.console:
        raise Problem(404, "no_such_path", "this broker has no console", "start it without --no-console")
    etag = f'"{file.version}"'
    headers = {**HEADERS, "Cache-Control": cache_control, "ETag": etag}
    if etag in (visit.header("If-None-Match") or ""):
        return web.Response(status=304, headers=headers)
    if "gzip" not in (visit.header("Accept-Encoding") or ""):
        return web.Response(body=file.content, headers=headers, content_type=file.content_type, charset="utf-8")
    headers["Content-Encoding"] = "gzip"
    return web.Response(body=file.packed, headers=headers, content_type=file.content_type, charset="utf-8")
