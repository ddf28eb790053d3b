"""Where a client's token comes from, and when the next one is due.

A token that is given as text is the same for every connection. One that comes from a function is asked for before each
connection, and once more well before it ends, so that the connection lives on with the next one (PROTOCOL.md 3.7).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from .errors import ConnectFailed, OutlastError

TokenSource: TypeAlias = str | Callable[[], Awaitable[str]] | None
# Of the time that a token is good for; the rest is for trying again.
REFRESH_AFTER = 2 / 3
RETRY_MS_MIN = 1_000

_log = logging.getLogger("outlast")


def choose(given: TokenSource, environment: Mapping[str, str]) -> TokenSource:
    """What connect() was given, else OUTLAST_TOKEN, else the file that OUTLAST_TOKEN_FILE names."""
    if given is not None:
        if not isinstance(given, str) and not callable(given):
            raise TypeError(f"token is {type(given).__name__}, expected text or an async function that returns it")
        return given
    if token := environment.get("OUTLAST_TOKEN"):
        return token
    path = environment.get("OUTLAST_TOKEN_FILE")
    return from_file(Path(path)) if path else None


def from_file(path: Path) -> Callable[[], Awaitable[str]]:
    """What is in the file whenever a token is needed."""
    return partial(_read, path)


async def _read(path: Path) -> str:
    return path.read_text().strip()


async def fetch(source: TokenSource) -> str | None:
    """Raises what the function raises, if it is one of ours, else ConnectFailed."""
    if source is None or isinstance(source, str):
        return source
    try:
        token = await source()
    except OutlastError:
        raise
    except Exception as error:
        raise _no_token(f"{type(error).__name__}: {error}") from error
    if not isinstance(token, str):
        raise _no_token(f"the function returned {type(token).__name__}, expected text")
    return token


def _no_token(why: str) -> ConnectFailed:
    failed = ConnectFailed(f"no token: {why}")
    failed.advice = "mend the function or the file that gives the token"
    return failed


class Bearer(Protocol):
    """Who shows the broker a newer token, and begins anew with what it is told about its end."""

    def show(self, token: str) -> None: ...


class Refresher:
    """Has a newer token shown in time, on one connection after another."""

    def __init__(self, source: TokenSource, bearer: Bearer) -> None:
        self._source = source
        self._bearer = bearer
        self._task: asyncio.Task[None] | None = None

    def begin(self, expires_in_ms: int | None) -> None:
        """The token that this connection has is good for so long."""
        self.end()
        if expires_in_ms is not None and callable(self._source):
            self._task = asyncio.get_running_loop().create_task(self._refresh(expires_in_ms))

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _refresh(self, expires_in_ms: int) -> None:
        wait_ms = expires_in_ms * REFRESH_AFTER
        while True:
            await asyncio.sleep(wait_ms / 1000)
            try:
                token = await fetch(self._source)
            except OutlastError as error:
                _log.warning("the token could not be refreshed, trying again: %s", error)
                wait_ms = max(RETRY_MS_MIN, expires_in_ms * (1 - REFRESH_AFTER) / 4)
                continue
            self._bearer.show(token or "")
            return
