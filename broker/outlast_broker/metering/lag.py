"""By how much the event loop is late: a timer that looks at when it is called."""

from __future__ import annotations

from asyncio import AbstractEventLoop

from .. import clock
from .histogram import Histogram

INTERVAL_US = 250_000


class Lag:
    """Observes until it is stopped. Timers are right to a millisecond or so: those that are early count as punctual."""

    def __init__(self, loop: AbstractEventLoop, observed: Histogram) -> None:
        self._loop = loop
        self._observed = observed
        self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._due_us = clock.steady_us() + INTERVAL_US
        self._timer = self._loop.call_later(INTERVAL_US / 1_000_000, self._ring)

    def _ring(self) -> None:
        self._observed.observe(max(clock.steady_us() - self._due_us, 0))
        self._wait()
