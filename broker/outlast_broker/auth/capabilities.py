"""What may be done to which channels: patterns of names, and verbs. Pure.

A pattern is a channel's name, or one whose last segment is `*`, for one segment or more of whatever; segments are what
lies between colons. So `session:42:*` is for `session:42:a` and `session:42:a:b`, and neither for `session:42` nor for
`session:421:a`; `*` alone is for every channel. Names are compared as they are: no case is folded, nothing normalized.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from outlast_protocol.limits import CHANNEL_NAME_BYTES_MAX

from ..names import is_name

ANY = "*"
SEPARATOR = ":"


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


ALL_VERBS = sum(Verb)


class Capabilities:
    """What is not granted is not allowed. Verbs are plain numbers here: they are looked at for each frame."""

    __slots__ = ("_everywhere", "_exact", "_prefixes")

    def __init__(self, grants: Mapping[str, int]) -> None:
        """Raises ValueError for what is no pattern."""
        self._everywhere = 0
        self._exact: dict[str, int] = {}
        # By what stands before the star.
        self._prefixes: dict[str, int] = {}
        for pattern, verbs in grants.items():
            check_pattern(pattern)
            if pattern == ANY:
                self._everywhere |= verbs
            elif pattern.endswith(SEPARATOR + ANY):
                self._prefixes[pattern[:-1]] = verbs
            else:
                self._exact[pattern] = verbs

    def verbs(self, name: str) -> int:
        """What may be done to the channel of this name; 0: nothing, and it must not be told that it exists."""
        found = self._everywhere | self._exact.get(name, 0)
        if self._prefixes:
            end = name.find(SEPARATOR) + 1
            while end:
                found |= self._prefixes.get(name[:end], 0)
                end = name.find(SEPARATOR, end) + 1
        return found

    @property
    def everywhere(self) -> int:
        """What may be done to every channel, and so to the broker itself."""
        return self._everywhere

    def beginnings(self, prefix: str) -> tuple[list[str], list[str]]:
        """Of the channels that begin with `prefix` and may be seen: names, and how names begin, in byte order.

        No beginning is one of another: what begins so comes in the same order.
        """
        if self._everywhere:
            return [], [prefix]
        names = [name for name, verbs in self._exact.items() if verbs and name.startswith(prefix)]
        granted = [each for each, verbs in self._prefixes.items() if verbs]
        found: list[str] = []
        for each in sorted(granted, key=str.encode):
            if prefix.startswith(each):
                return [], [prefix]
            if each.startswith(prefix) and not (found and each.startswith(found[-1])):
                found.append(each)
        return names, found


def check_pattern(pattern: str) -> None:
    """Raises ValueError that says what is allowed."""
    stem = pattern[:-1] if pattern == ANY or pattern.endswith(SEPARATOR + ANY) else pattern
    if ANY in stem or not is_name(pattern, CHANNEL_NAME_BYTES_MAX):
        rule = "a channel's name, or one whose last segment is *, as session:42:*; * alone is for all"
        raise ValueError(f"{pattern[:80]!r} is no pattern: it is {rule}")


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
