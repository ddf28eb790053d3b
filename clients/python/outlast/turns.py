"""Callers who wait for the same thing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .errors import OutlastError


def settle(turns: Iterable[asyncio.Future[None]], error: OutlastError | None) -> None:
    """Lets them all go on, or fails them all; who was cancelled meanwhile is passed over."""
    for turn in turns:
        if turn.done():
            continue
        if error is None:
            turn.set_result(None)
        else:
            turn.set_exception(error)
