"""What may be done to which channels: patterns of their names (patterns.py), and verbs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from ..patterns import ANY, check_pattern, patterns_for


class Verb(IntFlag):
    """The lower-case name is what tokens say."""

    PUBLISH = 1
    SUBSCRIBE = 2
    HISTORY = 4
    PRESENCE = 8
    STATE = 16
    CURSOR = 32
    LEASE = 64
    CLAIM = 128
    MANAGE = 256
    METRICS = 512


ALL_VERBS = sum(Verb)
# METRICS is about the broker alone: who has it and nothing else may not be told that there are channels.
CHANNEL_VERBS = ALL_VERBS - int(Verb.METRICS)


class Capabilities:
    """What is not granted is not allowed. Verbs are plain numbers here: they are looked at for each frame."""

    __slots__ = ("_channels", "grants")

    def __init__(self, grants: Mapping[str, int]) -> None:
        """Raises ValueError for what is no pattern, and for `metrics` on some channels."""
        for pattern, verbs in grants.items():
            check_pattern(pattern)
            if pattern != ANY and verbs & Verb.METRICS:
                raise ValueError(f"metrics is about the whole broker: grant it on {ANY}, not on {pattern[:80]!r}")
        self.grants = dict(grants)
        self._channels = {pattern: found for pattern, verbs in grants.items() if (found := verbs & CHANNEL_VERBS)}

    def verbs(self, name: str) -> int:
        """What may be done to the channel of this name; 0: nothing, and it must not be told that it exists."""
        found = 0
        for pattern in patterns_for(name):
            found |= self._channels.get(pattern, 0)
        return found

    @property
    def everywhere(self) -> int:
        """What may be done to every channel, and to the broker itself."""
        return self.grants.get(ANY, 0)

    def beginnings(self, prefix: str) -> tuple[list[str], list[str]]:
        """Of the channels that begin with `prefix` and may be seen: names, and how names begin, in byte order.

        No beginning is one of another: what begins so comes in the same order.
        """
        names = [each for each in self._channels if not each.endswith(ANY) and each.startswith(prefix)]
        found: list[str] = []
        for each in sorted((each[:-1] for each in self._channels if each.endswith(ANY)), key=str.encode):
            if prefix.startswith(each):
                return [], [prefix]
            if each.startswith(prefix) and not (found and each.startswith(found[-1])):
                found.append(each)
        return names, found


def read_capabilities(said: object) -> Capabilities:
    """What a token or a key says: patterns to lists of verbs. Raises ValueError."""
    if not isinstance(said, dict):
        raise ValueError("capabilities map patterns to lists of verbs")
    return Capabilities({_text(pattern): _verbs(verbs) for pattern, verbs in said.items()})


def _text(pattern: object) -> str:
    if not isinstance(pattern, str):
        raise ValueError("a pattern is text")
    return pattern


def _verbs(said: object) -> int:
    if not isinstance(said, list):
        raise ValueError(f"verbs are a list of {VERB_NAMES}")
    found = 0
    for name in said:
        if not isinstance(name, str) or name not in _BY_NAME:
            raise ValueError(f"{str(name)[:40]!r} is no verb: they are {VERB_NAMES}")
        found |= _BY_NAME[name]
    return found


def names_of(verbs: int) -> list[str]:
    return [name for name, verb in _BY_NAME.items() if verbs & verb]


_BY_NAME = {verb.name.lower(): int(verb) for verb in Verb if verb.name}
VERB_NAMES = ", ".join(_BY_NAME)
EVERYTHING = Capabilities({ANY: ALL_VERBS})
NOTHING = Capabilities({})
