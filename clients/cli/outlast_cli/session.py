"""One verb's time with a broker: connect, tell what happens to the connection, end with an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import click
import outlast

from .exits import Exit
from .failures import failure_from
from .options import token_source

Job = Callable[[outlast.Client], Awaitable[int]]


class ConnectionNews:
    """Turns the states of a connection into what a person wants to hear: losses and returns, once each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._was_open = False
        self._told = False

    def tell(self, state: str, reason: str) -> str | None:
        if state == "waiting" and not self._told:
            self._told = True
            if self._was_open:
                return f"connection lost, reconnecting: {reason}"
            return f"no connection to {self._url} yet, trying again: {reason}"
        if state == "open":
            returned, self._was_open, self._told = self._told and self._was_open, True, False
            return "connected again" if returned else None
        return None


def say(text: str) -> None:
    """A line about what happens, on stderr."""
    click.echo(f"outlast: {text}", err=True)


def run_session(url: str, connect_timeout_ms: int, job: Job) -> int:
    """Runs `job` with a client. Raises Failure for what the client says; returns the exit code."""
    return run_loop(_connected(url, connect_timeout_ms, job))


async def _connected(url: str, connect_timeout_ms: int, job: Job) -> int:
    news = ConnectionNews(url)

    def on_state(state: str, reason: str) -> None:
        if text := news.tell(state, reason):
            say(text)

    try:
        client = outlast.connect(
            url, timeout=max(connect_timeout_ms, 1) / 1000, on_state=on_state, token=token_source()
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    async with client:
        return await job(client)


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(main)
    except outlast.OutlastError as error:
        raise failure_from(error) from None
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def channel_of(client: outlast.Client, name: str) -> outlast.Channel:
    """Raises UsageError for a name that no channel can have."""
    try:
        return client.channel(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
