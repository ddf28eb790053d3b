"""A reload: all of it, or nothing. What is wrong is found before anything is changed.

A part of the broker that reads files, or makes something of options, says how with `add`:

    def prepare(self, config: Config) -> Callable[[], str]:
        keys = load_keys(config.auth)              # raises what says what is wrong: then nothing is changed anywhere
        def adopt() -> str: ...                    # cannot fail; says what is different now, "" if nothing is
        return adopt

Options that are `live` need nothing of the kind when they are read from the engine's config whenever they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..config import Config
from .options import RULES, values_of, with_values

Prepare = Callable[[Config], Callable[[], str]]


class Reloaded(NamedTuple):
    """In words: what is different now, and what would be after a restart."""

    changed: list[str]
    restart: list[str]


class ReloadRefused(Exception):
    """Something is wrong, and so everything is as it was; the message says what."""


class Reloading:
    """`config` is what holds; `load` reads it anew from where it came."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self.config = config
        self._load = load
        self._parts: list[Prepare] = []

    def add(self, prepare: Prepare) -> None:
        self._parts.append(prepare)

    def reload(self) -> Reloaded:
        """Raises ReloadRefused, whatever the cause: a broker that runs is worth more than a new setting."""
        try:
            wanted = self._load()
            config = with_live(self.config, wanted)
            ready = [prepare(config) for prepare in self._parts]
        except Exception as error:
            raise ReloadRefused(str(error)) from error
        changed = list(differences(self.config, config))
        self.config = config
        changed += [said for adopt in ready if (said := adopt())]
        return Reloaded(changed, list(differences(config, wanted)))


def with_live(config: Config, wanted: Config) -> Config:
    """`config` with what of `wanted` needs no restart."""
    live = {option.name: value for option, value in values_of(wanted) if option.details.live}
    return with_values(config, live | {RULES: wanted.rules})


def differences(old: Config, new: Config) -> Iterator[str]:
    for (option, before), (_, after) in zip(values_of(old), values_of(new), strict=True):
        if before != after:
            yield f"{option.name}: {option.shown(before) or 'nothing'} -> {option.shown(after) or 'nothing'}"
    if old.rules != new.rules:
        yield f"{RULES}: {len(old.rules)} -> {len(new.rules)}" if len(old.rules) != len(new.rules) else RULES
