"""`outlast restore`: a backup becomes a store again."""

from __future__ import annotations

from pathlib import Path

import click
from outlast_broker import clock
from outlast_broker.care.restoration import NotRestored, restore as restore_store
from outlast_broker.configuration.quantities import show_count

from .care import data_option, progress, tell_faults, told_apart
from .exits import Exit, Failure
from .session import say


@click.command(short_help="Make a data folder out of a backup.")
@click.argument("backup", type=click.Path(path_type=Path))
@data_option
@click.option("--force", is_flag=True, help="Where a store is already, keep it beside the restored one.")
@click.option("--keep-epochs", is_flag=True, help="For a move: the backup was made after the broker had stopped.")
def restore(backup: Path, data: Path, force: bool, keep_epochs: bool) -> int:
    """Verify BACKUP, a file that `outlast backup` made, and put it into the data folder. No broker may run there.

    A restored store is the past. So that nobody takes one record for another, each channel begins a new life: readers
    who come back are told `recreated`, tokens of leases and claims that were given before are dead. With --keep-epochs
    everything stays as it was, which is right only if nothing was published after the backup.
    """
    try:
        with told_apart(data), progress("verifying") as told:
            restored = restore_store(backup, data, clock.now_ms(), replace=force, keep_epochs=keep_epochs, told=told)
    except NotRestored as error:
        raise Failure(str(error)) from None
    if not restored.verdict.is_whole:
        tell_faults(backup, restored.verdict)
        return Exit.DAMAGED
    if restored.aside is not None:
        say(f"the store that was there is now {restored.aside}: remove it when you do not need it")
    records, channels = show_count(restored.verdict.records, "record"), show_count(restored.verdict.channels, "channel")
    say(f"restored {records} in {channels}: start a broker with --data {data}")
    return Exit.OK
