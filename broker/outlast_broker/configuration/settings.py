"""From flags, environment, credentials and a file to a Config, and where each value came from.

Flags come before the environment, that before $CREDENTIALS_DIRECTORY, and that before the file. Whatever is wrong is
found before anything is started, all of it at once, and each problem says where it is and what is allowed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ..config import Config
from ..rules import Rule
from .environment import KNOWN, strangers
from .options import BY_NAME, MEMORY, OF_A_RULE, OPTIONS, RULES, VARIABLES, Option, with_values
from .soundness import unsound

FLAG = "command line"
ENVIRONMENT = "environment"
CREDENTIALS = "credentials"
DEFAULT = "default"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
# Two answers to one question: whoever gives one of them has answered it.
PLACE = {"data", MEMORY.name}


class Problem(NamedTuple):
    """`origin`: FLAG, ENVIRONMENT, CREDENTIALS, DEFAULT or the file's name; `name`: as it is written there."""

    origin: str
    name: str
    text: str

    def __str__(self) -> str:
        where = "" if self.origin == FLAG else f"{self.origin}: "
        return f"{where}{self.name}: {self.text}" if self.name else f"{where}{self.text}"


class BadSettings(ValueError):
    """The configuration is wrong, in these places."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @property
    def by_flags_alone(self) -> bool:
        return all(problem.origin == FLAG for problem in self.problems)


class Settings(NamedTuple):
    """`origins`: where the value of an option came from, by its name; what is not in it has its default."""

    config: Config
    origins: dict[str, str]


class _Base(BaseSettings):
    """What merges is `load`, which remembers what came from where."""

    model_config = SettingsConfigDict(env_prefix=VARIABLES, extra="forbid", validate_default=False)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *others: Any, **more: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _field(option: Option) -> Any:
    return (Annotated[Any, NoDecode, BeforeValidator(option.kind.read)], option.default)


def _read_rules(given: Any) -> tuple[Rule, ...]:
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ValueError("write each rule as a table of its own, under [[rules]]")
    return tuple(_read_rule(row) for row in given)


def _read_rule(row: dict[str, Any]) -> Rule:
    known = {option.key: option for option in OF_A_RULE}
    if unknown := [key for key in row if key not in known]:
        raise ValueError(_unknown(unknown[0], known))
    if "channels" not in row:
        raise ValueError('a rule says which channels it is for, as channels = "session:*"')
    return Rule(**{known[key].path[-1]: _named(known[key], value) for key, value in row.items()})


def _named(option: Option, value: Any) -> Any:
    try:
        return option.kind.read(value)
    except ValueError as error:
        raise ValueError(f"{option.key}: {error}") from None


_FIELDS: dict[str, Any] = {option.name: _field(option) for option in OPTIONS}
_FIELDS[RULES] = (Annotated[Any, NoDecode, BeforeValidator(_read_rules)], ())
_MODEL: type[_Base] = create_model("Outlast", __base__=_Base, **_FIELDS)


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """`flags` hold text by the names of options. Raises BadSettings."""
    layers = {FLAG: dict(flags or {}), ENVIRONMENT: _environment(), CREDENTIALS: _credentials()}
    if file is not None:
        layers[str(file)] = _file(file)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers.items():
        _refuse_both(origin, layer)
        open_questions = layer.keys() - (PLACE if values.keys() & PLACE else set()) - values.keys()
        values |= {name: layer[name] for name in open_questions}
        origins |= dict.fromkeys(open_questions, origin)
    return _settled(_validated(values, origins), origins)


def _validated(values: dict[str, Any], origins: dict[str, str]) -> dict[str, Any]:
    try:
        model = _MODEL(**values)
    except ValidationError as error:
        wrong = [(str(each["loc"][0]), each["ctx"]["error"]) for each in error.errors()]
        raise BadSettings([_problem(name, str(text), origins) for name, text in wrong]) from None
    return {name: getattr(model, name) for name in values}


def _settled(values: dict[str, Any], origins: dict[str, str]) -> Settings:
    config = with_values(Config(), values)
    if problems := [_problem(name, text, origins) for name, text in unsound(config)]:
        raise BadSettings(problems)
    return Settings(config, origins)


def _problem(name: str, text: str, origins: dict[str, str]) -> Problem:
    origin = origins.get(name, DEFAULT)
    if name == RULES:
        return Problem(origin, name, text)
    option = BY_NAME[name]
    spelled = {FLAG: option.flag, ENVIRONMENT: option.variable, CREDENTIALS: name}
    return Problem(origin, spelled.get(origin, option.in_file), text)


def _refuse_both(origin: str, layer: Mapping[str, Any]) -> None:
    if "data" in layer and BY_NAME[MEMORY.name].kind.read(layer.get(MEMORY.name, False)):
        text = "memory keeps nothing on disk, data does: give one of them"
        raise BadSettings([Problem(origin, "", text)])


# --- where values come from ---------------------------------------------------------------------------------


def _environment() -> dict[str, Any]:
    wrong = [_unknown(name, KNOWN, VARIABLES) for name in strangers(os.environ)]
    if wrong:
        raise BadSettings([Problem(ENVIRONMENT, "", text) for text in wrong])
    return EnvSettingsSource(_MODEL)()


def _credentials() -> dict[str, Any]:
    """A file there has the name of an option. Where the option is a path, it is that of the file."""
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).iterdir()) if folder else ():
        option = BY_NAME.get(path.name)
        if option is None:
            raise BadSettings([Problem(CREDENTIALS, "", _unknown(path.name, BY_NAME))])
        found[path.name] = str(path) if option.kind.name == "path" else path.read_text(encoding="utf-8").strip()
    return found


def _file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise BadSettings([Problem(str(file), "", "there is no such file; `outlast config default` prints one")])
    try:
        given = TomlConfigSettingsSource(_MODEL, file).toml_data
    except tomllib.TOMLDecodeError as error:
        raise BadSettings([Problem(str(file), "", f"this is not TOML: {error}")]) from None
    except OSError as error:
        raise BadSettings([Problem(str(file), "", f"it cannot be read: {error.strerror}")]) from None
    return _known(file, given)


def _known(file: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What the file gives, by the names of options."""
    places = {(option.table, option.key): option.name for option in OPTIONS} | {("", RULES): RULES}
    tables = {option.table for option in OPTIONS if option.table}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for table, key, value in _entries(given, tables):
        if (table, key) in places:
            values[places[table, key]] = value
        else:
            known = [other for where, other in places if where == table] + ([] if table else sorted(tables))
            problems.append(Problem(str(file), f"[{table}]" if table else "", _unknown(key, known)))
    if problems:
        raise BadSettings(problems)
    return values


def _entries(given: dict[str, Any], tables: set[str]) -> Iterator[tuple[str, str, Any]]:
    for key, value in given.items():
        if key in tables and isinstance(value, dict):
            yield from ((key, inner, each) for inner, each in value.items())
        else:
            yield "", key, value


def _unknown(key: str, known: Any, beginning: str = "") -> str:
    """`beginning` is what all variables begin with, which makes none of them alike."""
    near = get_close_matches(key.removeprefix(beginning), list(known), 1)
    meant = f": did you mean {beginning + near[0]!r}?" if near else "; `outlast config default` prints them all"
    return f"there is no option {key!r}{meant}"
