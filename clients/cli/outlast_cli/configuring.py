"""What `serve` and `config` share: a flag for every option of the broker, and how what is wrong is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from outlast_broker.configuration.options import OPTIONS, VARIABLES, Option

from .exits import Exit, Failure

if TYPE_CHECKING:
    from outlast_broker.configuration.settings import Settings

Verb = TypeVar("Verb", bound=Callable[..., Any])
CONFIG_VARIABLE = f"{VARIABLES}CONFIG"


def settings_options(verb: Verb) -> Verb:
    """`--config`, and a flag for each option. What was not given is None, or an empty tuple."""
    for option in reversed(OPTIONS):
        verb = _flag(option)(verb)
    return click.option(
        "--config", "file", type=click.Path(path_type=Path), envvar=CONFIG_VARIABLE, show_envvar=True,
        help="The configuration file, in TOML. `outlast config default` prints one.",
    )(verb)  # fmt: skip


def _flag(option: Option) -> Callable[[Verb], Verb]:
    default = option.shown(option.default)
    shown = f"[{option.variable}{f'; default: {default}' if default and not _is_switch(option) else ''}]"
    kind: dict[str, Any] = {"is_flag": True, "default": None} if _is_switch(option) else {"metavar": _metavar(option)}
    several = option.kind.name == "texts"
    flag = f"{option.flag}/--no-{option.flag[2:]}" if option.default is True else option.flag
    return click.option(flag, option.name, multiple=several, help=f"{option.details.text}  {shown}", **kind)


def _is_switch(option: Option) -> bool:
    return option.kind.name == "flag"


def _metavar(option: Option) -> str:
    return "|".join(option.details.one_of) or option.kind.name.removesuffix("s").upper()


def load_settings(file: Path | None, flags: dict[str, Any]) -> Settings:
    """Raises UsageError for what is wrong on the command line, Failure for what is wrong elsewhere."""
    from outlast_broker.configuration.settings import BadSettings, load

    try:
        return load(file, given(flags))
    except BadSettings as error:
        if error.by_flags_alone:
            raise click.UsageError(str(error)) from None
        raise Failure(f"the configuration is wrong; nothing was started.\n{error}", Exit.CONFIG) from None


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Those that are on the command line."""
    return {name: value for name, value in flags.items() if value not in (None, ())}
