from __future__ import annotations

import asyncio

from outlast_broker.metering.histogram import MICROSECONDS, Histogram
from outlast_broker.metering.lag import INTERVAL_US, Lag

from tests.broker.stage import Time


class Loop:
    """Keeps the timers that are set; the test lets them ring."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, object]] = []

    def call_later(self, delay_s: float, ring: object) -> Loop:
        self.timers.append((delay_s, ring))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def ring(self) -> None:
        _, ring = self.timers.pop()
        assert callable(ring)
        ring()


def test_what_is_late_is_observed_and_what_is_early_is_punctual(time: Time) -> None:
    loop, observed = Loop(), Histogram(MICROSECONDS)
    lag = Lag(loop, observed)  # type: ignore[arg-type]
    assert [delay_s for delay_s, _ in loop.timers] == [INTERVAL_US / 1_000_000]
    time.advance(INTERVAL_US // 1_000 + 30)
    loop.ring()
    assert observed.total == 30_000
    time.advance(INTERVAL_US // 1_000 - 1)
    loop.ring()
    assert observed.total == 30_000 and sum(observed.counts) == 2
    lag.stop()
    assert not loop.timers


def test_a_loop_that_is_blocked_shows() -> None:
    observed = Histogram(MICROSECONDS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lag = Lag(loop, observed)
        while not sum(observed.counts):
            await asyncio.sleep(0.01)
        lag.stop()

    asyncio.run(main())
    assert sum(observed.counts) == 1
