"""Calls that may block for ever, such as reading a terminal, beside a loop that goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_background(function: Callable[[], T]) -> T:
    """What `function` returns or raises. Unlike a thread of asyncio's pool, it never holds up the process's end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            outcome = function()
        except BaseException as error:
            _hand_over(loop, _fail, future, error)
        else:
            _hand_over(loop, _succeed, future, outcome)

    threading.Thread(target=work, daemon=True).start()
    return await future


def _hand_over(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
        loop.call_soon_threadsafe(settle, *arguments)


def _succeed(future: asyncio.Future[T], outcome: T) -> None:
    if not future.done():
        future.set_result(outcome)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
