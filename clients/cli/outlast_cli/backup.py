"""`outlast backup`: a copy of the store, while the broker runs."""

from __future__ import annotations

from pathlib import Path

import click
from outlast_broker import clock
from outlast_broker.care.backup import back_up
from outlast_broker.configuration.quantities import show_bytes, show_count

from .care import data_option, progress, tell_faults, told_apart
from .exits import Exit
from .session import say


@click.command(short_help="Copy the store, while the broker runs.")
@click.argument("folder", metavar="DEST", type=click.Path(path_type=Path, file_okay=False))
@data_option
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Remove older backups in DEST beyond the newest N.")
@click.option("--compact", is_flag=True, help="Leave out free space: smaller, and takes longer.")
@click.option("--no-verify", "unverified", is_flag=True, help="Do not go through the copy afterwards.")
def backup(folder: Path, data: Path, keep: int | None, compact: bool, unverified: bool) -> int:
    """Copy the data folder's store into DEST, as of one moment, and print the backup's path.

    A broker may be at work or not. The backup appears under its name when it is whole, verified and on the disk; what a
    kill leaves behind is removed by the next run. `outlast restore` brings it back.
    """
    with told_apart(data), progress("backing up") as told:
        made = back_up(
            data, folder, clock.now_ms(), compact=compact, verified=not unverified, keep=keep or 0, told=told
        )
    if made.verdict is not None and not made.verdict.is_whole:
        tell_faults(data, made.verdict)
        return Exit.DAMAGED
    say(_summary(made.bytes, made.verdict is not None, len(made.removed)))
    click.echo(made.path)
    return Exit.OK


def _summary(size: int, verified: bool, removed: int) -> str:
    gone = f", {show_count(removed, 'older backup')} removed" if removed else ""
    return f"{show_bytes(size)} copied{' and verified' if verified else ''}{gone}"
