"""Patterns of channels' names, as rules and capabilities have them. Pure.

A pattern is a channel's name, or one whose last segment is `*`, for one segment or more of whatever; segments are what
lies between colons. So `session:42:*` is for `session:42:a` and `session:42:a:b`, and neither for `session:42` nor for
`session:421:a`; `*` alone is for every channel. Names are compared as they are: no case is folded, nothing normalized.
"""

from __future__ import annotations

from collections.abc import Iterator

from outlast_protocol.limits import CHANNEL_NAME_BYTES_MAX

from .names import is_name

ANY = "*"
SEPARATOR = ":"


def check_pattern(pattern: str) -> None:
    """Raises ValueError that says what is allowed."""
    stem = pattern[:-1] if pattern == ANY or pattern.endswith(SEPARATOR + ANY) else pattern
    if ANY in stem or not is_name(pattern, CHANNEL_NAME_BYTES_MAX):
        rule = "a channel's name, or one whose last segment is *, as session:42:*; * alone is for all"
        raise ValueError(f"{pattern[:80]!r} is no pattern: it is {rule}")


def patterns_for(name: str) -> Iterator[str]:
    """Every pattern that the channel of this name falls under, so that each can be looked up."""
    yield name
    yield ANY
    end = name.find(SEPARATOR) + 1
    while end:
        yield name[:end] + ANY
        end = name.find(SEPARATOR, end) + 1
