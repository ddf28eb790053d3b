"""`outlast verify`: whether everything in a store is what was written."""

from __future__ import annotations

from pathlib import Path

import click
from outlast_broker.care.verification import verify as verify_store
from outlast_broker.config import Config
from outlast_broker.configuration.quantities import show_count

from .care import progress, tell_faults, told_apart
from .exits import Exit
from .session import say


@click.command(short_help="Check every checksum of a store or a backup.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="OUTLAST_DATA", default=f"./{Config().data}",
              show_default=True, show_envvar=True, help="The data folder, if no PATH is given.")  # fmt: skip
def verify(path: Path | None, data: Path) -> int:
    """Go through PATH, a data folder or a backup, and check that everything in it is what was written.

    Every checksum of every record, that offsets have no holes, that heads, names and rows fit them. A broker may be at
    work meanwhile; if none is, the pages of the file are checked first. What is damaged is named, with exit code 65.
    """
    path = path or data
    with told_apart(path), progress("verifying") as told:
        verdict = verify_store(path, told)
    if not verdict.is_whole:
        tell_faults(path, verdict)
        return Exit.DAMAGED
    say(f"{path} is whole: {show_count(verdict.records, 'record')} in {show_count(verdict.channels, 'channel')}")
    return Exit.OK
