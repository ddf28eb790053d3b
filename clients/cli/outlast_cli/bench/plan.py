"""What the person who measures can decide, and what bounds the load whatever was decided."""

from __future__ import annotations

from typing import NamedTuple

SECONDS_MAX = 60
RATE_MAX = 100_000
CHANNELS_MAX = 1_000
MESSAGE_BYTES_MAX = 65_536
# What one scenario writes at most. The store never shrinks, so it must stay what any disk can spare.
SCENARIO_BYTES_MAX = 256 * 1_048_576
BATCH_RECORDS = 500
# A batch must stay below 1 MiB (PROTOCOL.md 9), with what a record takes beside its data.
_BATCH_BYTES_MAX = 1_000_000
_RECORD_BYTES = 32
_PATIENCE_S = 10


class Plan(NamedTuple):
    """`rate` is messages a second over all `channels`."""

    seconds: float = 3.0
    rate: int = 1_000
    channels: int = 20
    message_bytes: int = 64

    @property
    def batch_records(self) -> int:
        return max(min(BATCH_RECORDS, _BATCH_BYTES_MAX // (self.message_bytes + _RECORD_BYTES)), 1)

    @property
    def messages_max(self) -> int:
        """What one scenario may publish."""
        return SCENARIO_BYTES_MAX // (self.message_bytes + _RECORD_BYTES)

    @property
    def patience_s(self) -> float:
        """A scenario that takes longer is given up: reading back may take several times as long as writing."""
        return _PATIENCE_S + 5 * self.seconds
