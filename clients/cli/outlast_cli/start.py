"""Where reading starts, as given on the command line: --after and --from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import click
from outlast_broker.configuration.quantities import parse_duration_ms
from outlast_protocol import Position

Verb = TypeVar("Verb", bound=Callable[..., Any])
FROM_ALLOWED = "earliest, latest, last:N, a time as 2026-01-31T12:00:00Z, or how long ago as 10m"


class Start(NamedTuple):
    """At most one is set; none is the verb's own default."""

    after: int | str | None = None
    start: Any = None
    last: int | None = None
    since: datetime | None = None


def parse_offset_or_position(text: str) -> int | str:
    """An offset as a number, a position as its text. Raises ValueError with the forms that are allowed."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return str(Position.parse(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither an offset, as 42, nor a position, as 00c0ffee00c0ffee:42") from None


def parse_start(after: str | None, origin: str | None, now: datetime) -> Start:
    """`origin` is what --from says. Raises ValueError that says what is allowed."""
    if after is not None and origin is not None:
        raise ValueError("--after and --from both say where to start: give one of them")
    if after is not None:
        return Start(after=parse_offset_or_position(after))
    if origin is None:
        return Start()
    if origin in ("earliest", "latest"):
        return Start(start=origin)
    if origin.startswith("last:"):
        return Start(last=_parse_last(origin.removeprefix("last:")))
    return Start(since=_parse_moment(origin, now))


def _parse_last(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'last:{text}' needs a number: last:N")
    return int(text)


def _parse_moment(text: str, now: datetime) -> datetime:
    """A time without a zone is meant in the zone of this machine."""
    try:
        ago_ms = parse_duration_ms(text.removesuffix("ago"))
        return now - timedelta(milliseconds=ago_ms)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"--from {text!r} is not understood: allowed are {FROM_ALLOWED}") from None


def start_options(verb: Verb) -> Verb:
    after = click.option("--after", metavar="OFFSET|POSITION", help="Start behind this record: you have it already.")
    origin = click.option("--from", "origin", metavar="WHERE", help=f"Start at {FROM_ALLOWED}.")
    return after(origin(verb))


def chosen_start(after: str | None, origin: str | None) -> Start:
    """Raises UsageError."""
    try:
        return parse_start(after, origin, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
