"""All options of a broker, found in the fields of Config: what flags, the file, pages and reloads go by. Pure.

A field `fold_after_ms` of Config is `--fold-after`, OUTLAST_FOLD_AFTER, and `fold_after` in the file. A field of a
group `auth` has the group's name in front, as `--auth-skew` and OUTLAST_AUTH_SKEW; in the file it is `[auth] skew`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, NamedTuple, get_type_hints

from ..config import Config
from ..rules import Rule
from .kinds import Kind, kind_of
from .option import INLINE, KEY, Details


class Option(NamedTuple):
    """`path`: its place in Config. `table`: its table in the file, "" at the top. `key`: its name in that."""

    path: tuple[str, ...]
    table: str
    key: str
    kind: Kind
    default: Any
    details: Details

    @property
    def name(self) -> str:
        return f"{self.table}_{self.key}" if self.table else self.key

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return VARIABLES + self.name.upper()

    @property
    def in_file(self) -> str:
        """How people are told of it."""
        return f"[{self.table}] {self.key}" if self.table else self.key

    def shown(self, value: Any) -> str:
        return "(secret)" if self.details.secret and value else self.kind.show(value)

    def of(self, config: Config) -> Any:
        value: Any = config
        for step in self.path:
            value = getattr(value, step)
        return value


VARIABLES = "OUTLAST_"


def _walk(group: type, path: tuple[str, ...] = (), table: str = "") -> Iterator[Option]:
    hints = get_type_hints(group)
    for field in fields(group):
        if is_dataclass(hints[field.name]):
            inner = table if INLINE in field.metadata else f"{table}_{field.name}".lstrip("_")
            yield from _walk(hints[field.name], (*path, field.name), inner)
        elif KEY in field.metadata:
            yield _option(field, path, table)


def _option(field: Field[Any], path: tuple[str, ...], table: str) -> Option:
    details = field.metadata[KEY]
    kind = kind_of(field.name, str(field.type), details)
    key = details.name or field.name.removesuffix("_ms").removesuffix("_bytes")
    return Option((*path, field.name), table, key, kind, field.default, details)


# It has no field of its own: `data` is None then.
MEMORY = Option(
    (), "", "memory", kind_of("memory", "bool", Details("")), False,
    Details("Keep everything in memory: an ack then means nothing after a restart."),
)  # fmt: skip


def _all() -> Iterator[Option]:
    for option in _walk(Config):
        yield option
        if option.path == ("data",):
            yield MEMORY


OPTIONS: tuple[Option, ...] = tuple(_all())
BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}
# What `[[rules]]` may say.
RULES = "rules"
OF_A_RULE: tuple[Option, ...] = tuple(_walk(Rule))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with other values, by the names of their options."""
    given = dict(values)
    if given.pop(MEMORY.name, False):
        given["data"] = None
    for name, value in given.items():
        config = _with(config, (RULES,) if name == RULES else BY_NAME[name].path, value)
    return config


def _with(group: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    return replace(group, **{first: _with(getattr(group, first), tuple(rest), value) if rest else value})


def values_of(config: Config) -> Iterator[tuple[Option, Any]]:
    for option in OPTIONS:
        yield option, config.data is None if option is MEMORY else option.of(config)
