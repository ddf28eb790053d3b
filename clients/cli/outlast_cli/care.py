"""What the verbs that look after a data folder have in common: the folder, progress, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from outlast_broker.care.verification import Verdict
from outlast_broker.config import Config
from outlast_broker.configuration.quantities import show_bytes
from outlast_broker.folder import FolderInUse, NoRoom
from outlast_broker.lmdb_file import StoreError, WrongFormat

from .exits import Exit, Failure
from .session import say

Verb = TypeVar("Verb", bound=Callable[..., Any])


def data_option(verb: Verb) -> Verb:
    """`--data`, as `outlast serve` has it."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="OUTLAST_DATA",
        default=f"./{Config().data}",
        show_default=True,
        show_envvar=True,
        help="The data folder.",
    )(verb)


@contextmanager
def told_apart(data: Path) -> Iterator[None]:
    """What can go wrong with folders and disks, as sentences and exit codes."""
    try:
        yield
    except WrongFormat as error:
        raise Failure(str(error), Exit.DAMAGED) from None
    except FolderInUse as error:
        raise Failure(str(error), Exit.IN_USE) from None
    except NoRoom as error:
        raise Failure(f"{error}: free some, or give another folder", Exit.STORE_FAILED) from None
    except FileNotFoundError as error:
        raise Failure(f"{error.filename} is not there: nothing was done", Exit.UNAVAILABLE) from None
    except PermissionError as error:
        text = f"{error.filename or data} may not be opened: run this as the user that the broker runs as, or as root"
        raise Failure(text, Exit.UNAVAILABLE) from None
    except (OSError, StoreError) as error:
        raise Failure(f"{error}: check the disk", Exit.STORE_FAILED) from None


class Progress:
    """A line on a terminal that is written over again; elsewhere nothing."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._shown = ""

    def tell(self, done: int, of: int) -> None:
        text = f"outlast: {self._doing} {show_bytes(done)} of {show_bytes(of)} ({100 * done // max(of, 1)} %)"
        if text != self._shown and sys.stderr.isatty():
            click.echo(f"\r{text:<{len(self._shown)}}", err=True, nl=False)
            self._shown = text

    def end(self) -> None:
        if self._shown:
            click.echo(f"\r{'':<{len(self._shown)}}\r", err=True, nl=False)
            self._shown = ""


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    line = Progress(doing)
    try:
        yield line.tell
    finally:
        line.end()


def tell_faults(path: Path, verdict: Verdict) -> None:
    """One line each on standard error, and what to do."""
    for fault in verdict.faults:
        say(f"DAMAGED {fault}")
    if verdict.fault_count > len(verdict.faults):
        say(f"... and {verdict.fault_count - len(verdict.faults):,} more")
    say(f"{path} is damaged. What is whole in it can still be read: see docs/data.md")
