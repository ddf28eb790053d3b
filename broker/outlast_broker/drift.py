"""Whether the wall clock has jumped: it is compared with the steady one. Pure."""

from __future__ import annotations

# What keeps clocks right moves them by less than this in a second.
JUMP_MS = 2_000


class Drift:
    def __init__(self, now_ms: int, steady_ms: int) -> None:
        self._apart_ms = now_ms - steady_ms

    def jumped_ms(self, now_ms: int, steady_ms: int) -> int:
        """How far it has jumped since this was asked last, backwards below 0; 0 for what is too little to be a jump."""
        apart_ms, self._apart_ms = self._apart_ms, now_ms - steady_ms
        jumped_ms = self._apart_ms - apart_ms
        return jumped_ms if abs(jumped_ms) >= JUMP_MS else 0
