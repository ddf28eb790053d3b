"""Bounds by pattern: what channels keep that say nothing of their own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .configuration.option import option
from .patterns import check_pattern, patterns_for
from .retention import Retention

if TYPE_CHECKING:
    from .channel import Channel


@dataclass(frozen=True, slots=True)
class Rule:
    """For channels of a pattern; what it leaves out is as for all channels."""

    channels: str = option("", "The pattern: a channel's name, or one whose last segment is *.", check=check_pattern)
    age_ms: int | None = option(None, "Forgets records that are older.", name="retain_age")
    records: int | None = option(None, "Keeps so many records per channel.", name="retain_records")
    bytes: int | None = option(None, "Keeps about so many bytes per channel.", name="retain_bytes")
    idle_ttl_ms: int | None = option(None, "Deletes channels that nobody used for so long.", name="idle_ttl")

    def over(self, all_others: Retention) -> Retention:
        own = {name: getattr(self, name) for name in Retention.__dataclass_fields__}
        return all_others.overridden({name: bound for name, bound in own.items() if bound is not None})


def _rank(ranked: tuple[int, Retention]) -> int:
    return ranked[0]


class Rules:
    """Of the rules that a channel falls under the first counts, and no other."""

    def __init__(self, all_others: Retention, rules: Sequence[Rule]) -> None:
        self._all_others = all_others
        self._ranked: dict[str, tuple[int, Retention]] = {}
        for rank, rule in enumerate(rules):
            self._ranked.setdefault(rule.channels, (rank, rule.over(all_others)))

    def of(self, channel: Channel) -> Retention:
        """Its own bounds, and for what these leave out those of the rules."""
        return channel.retention(self.named(channel.name))

    def named(self, name: str) -> Retention:
        """What holds for the channel of this name, as long as it has no bounds of its own."""
        if not self._ranked:
            return self._all_others
        found = [self._ranked[pattern] for pattern in patterns_for(name) if pattern in self._ranked]
        return min(found, key=_rank)[1] if found else self._all_others

    @property
    def bounded(self) -> bool:
        """Whether any channel is bounded by them."""
        kept = Retention()
        return self._all_others != kept or any(rule != kept for _, rule in self._ranked.values())
