"""A clock that jumps: noticed by the steady one beside it. Pure.

What is forgotten by its age is forgotten for good, so after a jump forward nothing is for a while: a clock that was set
wrong can be set right meanwhile, and nothing is lost by it.
"""

from __future__ import annotations

# What keeps clocks right moves them by less than this in a second.
JUMP_MS = 2_000
HOLD_MS = 600_000


class Jumps:
    def __init__(self, now_ms: int, steady_ms: int) -> None:
        self._apart_ms = now_ms - steady_ms
        self._until_ms = self._held_back_ms = 0
        self._untold_ms: list[int] = []

    def present_ms(self, now_ms: int, steady_ms: int) -> int:
        """What time it is for what forgets."""
        jumped_ms = now_ms - steady_ms - self._apart_ms
        self._apart_ms = now_ms - steady_ms
        if abs(jumped_ms) >= JUMP_MS:
            self._held_back_ms = max(0, self._held_back_ms + jumped_ms)
            self._until_ms = steady_ms + HOLD_MS
            self._untold_ms.append(jumped_ms)
        elif steady_ms >= self._until_ms:
            self._held_back_ms = 0
        return now_ms - self._held_back_ms

    def noticed(self) -> list[int]:
        """How far the clock jumped since this was last asked, each time: forward, or (below 0) back."""
        untold_ms, self._untold_ms = self._untold_ms, []
        return untold_ms
