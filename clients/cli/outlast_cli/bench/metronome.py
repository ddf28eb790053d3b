"""Beats in the loop that come when they should."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from ..background import in_background

_BEATS_PER_S_MAX = 1_000


class Tempo(NamedTuple):
    """`beats` beats, one every `every_s`, with `per_beat` messages each."""

    beats: int
    every_s: float
    per_beat: int


def tempo(rate: int, messages: int) -> Tempo:
    """About `messages` at `rate` a second. Above 1,000 a second several share a beat."""
    per_beat = -(-rate // _BEATS_PER_S_MAX)
    return Tempo(max(round(messages / per_beat), 1), per_beat / rate, per_beat)


async def keep(pace: Tempo, beat: Callable[[float], object]) -> None:
    """Calls `beat(due_s)` in the loop, in time by perf_counter; a beat that the loop holds up keeps its `due_s`.

    It is a thread that counts: the loop's own timers are up to a millisecond late, which would be most of what is
    measured.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def count() -> None:
        due_s = perf_counter()
        for _ in range(pace.beats):
            due_s += pace.every_s
            if stopped.wait(max(due_s - perf_counter(), 0)):
                return
            loop.call_soon_threadsafe(beat, due_s)

    try:
        await in_background(count)
    finally:
        stopped.set()
