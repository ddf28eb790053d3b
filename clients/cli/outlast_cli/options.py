"""Kinds of options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from outlast.token import TokenSource, from_file
from outlast_broker.configuration.quantities import DURATIONS_ALLOWED, SIZES_ALLOWED, parse_bytes, parse_duration_ms

T = TypeVar("T")
Verb = TypeVar("Verb", bound=Callable[..., Any])
CONNECT_TIMEOUT_DEFAULT = "5s"
TOKEN = "outlast.token"


BROKERS_RULE = "default"


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` as the type of an option: its ValueError becomes the usage error that is shown."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    convert.__name__ = parse.__name__.removeprefix("parse_").removesuffix("_ms")
    return convert


def _or_rule(parse: Callable[[str], int], allowed: str) -> Callable[[str], int | str]:
    """As `parse`, for what a channel may also leave to its broker."""

    def parse_or_rule(text: str) -> int | str:
        if text == BROKERS_RULE:
            return text
        try:
            return parse(text)
        except ValueError:
            raise ValueError(f"{text!r} is not allowed: give {allowed}, 0 for no bound, or {BROKERS_RULE}") from None

    parse_or_rule.__name__ = parse.__name__
    return _checked(parse_or_rule)


def parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


SIZE = _checked(parse_bytes)
DURATION = _checked(parse_duration_ms)
SIZE_OR_RULE = _or_rule(parse_bytes, SIZES_ALLOWED)
DURATION_OR_RULE = _or_rule(parse_duration_ms, DURATIONS_ALLOWED)
COUNT_OR_RULE = _or_rule(parse_count, "a whole number")


def broker_options(verb: Verb) -> Verb:
    """`--url`, `--token` and `--connect-timeout`, for every verb that talks to a broker."""
    url = click.option(
        "--url",
        envvar="OUTLAST_URL",
        default="outlast://127.0.0.1:6180",
        show_default=True,
        show_envvar=True,
        help="The broker: outlast://HOST[:PORT], outlasts:// with TLS, or outlast+unix:///PATH.",
    )
    timeout = click.option(
        "--connect-timeout",
        "connect_timeout_ms",
        type=DURATION,
        envvar="OUTLAST_CONNECT_TIMEOUT",
        default=CONNECT_TIMEOUT_DEFAULT,
        show_default=True,
        show_envvar=True,
        help="How long to try to reach it at the start.",
    )
    token = click.option(
        "--token", expose_value=False, callback=_keep_token,
        help="Who you are, for a broker that asks. Others on this machine can see it: rather use a file, or "
             "OUTLAST_TOKEN.",
    )  # fmt: skip
    token_file = click.option(
        "--token-file", expose_value=False, callback=_keep_token,
        type=click.Path(exists=True, path_type=Path, dir_okay=False),
        help="File with the token, read anew for each connection; also OUTLAST_TOKEN_FILE.",
    )  # fmt: skip
    return url(timeout(token(token_file(verb))))


def _keep_token(ctx: click.Context, option: click.Parameter, given: str | Path | None) -> None:
    """Of the two, --token counts; without them the client looks into the environment."""
    if isinstance(given, Path):
        ctx.meta.setdefault(TOKEN, from_file(given))
    elif given:
        ctx.meta[TOKEN] = given


def token_source() -> TokenSource:
    """What the verb that runs was given."""
    ctx = click.get_current_context(silent=True)
    return None if ctx is None else ctx.meta.get(TOKEN)
