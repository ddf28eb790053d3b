"""How much of a channel is kept. Pure: facts and `now_ms` in, the first offset to keep out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from .configuration.option import option


@dataclass(frozen=True, slots=True)
class Retention:
    """Bounds on one channel, 0 is none: any combination holds. `idle_ttl_ms` deletes the whole channel."""

    age_ms: int = option(0, "Forgets records that are older. 0: never.", name="retain_age", live=True)
    records: int = option(0, "Keeps so many records per channel. 0: all.", name="retain_records", live=True)
    bytes: int = option(
        0, "Keeps about so many bytes per channel, up to one chunk (32 KiB) more. 0: all.",
        name="retain_bytes", live=True,
    )  # fmt: skip
    idle_ttl_ms: int = option(
        0, "Deletes a channel that saw no publish and no client for so long. 0: never.", live=True
    )

    @property
    def trims(self) -> bool:
        return bool(self.age_ms or self.records or self.bytes)

    def overridden(self, own: dict[str, int]) -> Retention:
        """This rule with the channel's own values over it."""
        return replace(self, **own)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


# Further away than any clock will get; fits where times are stored.
NEVER_MS = 2**63 - 1
RETENTION_KEYS = tuple(Retention.__dataclass_fields__)


class ChunkFacts(NamedTuple):
    """What trimming needs to know of a stored chunk."""

    first: int
    last: int
    last_ms: int
    bytes: int


def first_kept(
    rule: Retention, first: int, last: int, stored_bytes: int, oldest: Iterable[ChunkFacts], now_ms: int
) -> int:
    """The first offset to keep; `oldest` are the channel's oldest chunks, in order, perhaps not all."""
    keep = max(first, last - rule.records + 1) if rule.records else first
    for chunk in oldest:
        too_old = rule.age_ms and chunk.last_ms <= now_ms - rule.age_ms
        too_much = rule.bytes and stored_bytes - chunk.bytes >= rule.bytes
        if not (too_old or too_much or chunk.last < keep):
            break
        stored_bytes -= chunk.bytes
        keep = max(keep, chunk.last + 1)
    return keep


def due_ms(rule: Retention, oldest_ms: int, last_ms: int) -> int:
    """When time alone may next change something, 0 for never; `last_ms` is the last sign of life."""
    dues = []
    if rule.age_ms and oldest_ms:
        dues.append(oldest_ms + rule.age_ms)
    if rule.idle_ttl_ms:
        dues.append(last_ms + rule.idle_ttl_ms)
    return min(min(dues, default=0), NEVER_MS)
