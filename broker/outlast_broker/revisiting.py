"""Goes through all channels, a few at a time, for what is due by rules that they do not know yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine

# A channel that is loaded and looked at takes some tens of microseconds: a look takes a few percent of the time.
CHANNELS_PER_TICK = 500


class Revisiting:
    """Each channel's store says when something is next due there; that was reckoned with the rules of its time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after: str | None = None
        self.under_way = False

    def begin(self) -> None:
        """From the first channel on, also if it was under way."""
        self._after, self.under_way = None, True

    def tick(self) -> None:
        """Once a second."""
        if not self.under_way:
            return
        found = self._engine.log.names("", self._after, CHANNELS_PER_TICK)
        for name, number in found:
            self._after = name
            channel = self._engine.load(number)
            if channel is not None:
                self._engine.group.trims.add(channel)
        self.under_way = len(found) == CHANNELS_PER_TICK
        self._engine.wake()
