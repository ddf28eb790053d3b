"""What the person who runs the bench can decide, in one frozen place. Names say their unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """`scale` shrinks the fixed sizes of a scenario (messages, connections, channels); `--quick` sets it to 0.02."""

    data_dir: Path
    seconds: float = 5.0
    warmup_s: float = 1.5
    drain_s: float = 10.0
    # One run of one scenario never takes longer than this, whatever hangs.
    limit_s: float = 300.0
    scale: float = 1.0
    # How long to wait before each run for a second in which nobody else works.
    patience_s: float = 0.0
    server_cores: frozenset[int] = frozenset({0})
    load_cores: frozenset[int] = frozenset({1})

    def scaled(self, count: int, least: int = 1) -> int:
        return max(least, round(count * self.scale))
