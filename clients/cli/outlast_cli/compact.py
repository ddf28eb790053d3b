"""`outlast compact`: the store's file gives its free space back."""

from __future__ import annotations

from pathlib import Path

import click
from outlast import Client
from outlast_broker.care.compaction import compact as compact_folder
from outlast_broker.configuration.quantities import show_bytes
from outlast_broker.damage import Damaged

from .care import told_apart
from .exits import Exit, Failure
from .options import broker_options
from .session import run_session, say


@click.command(short_help="Give the store's free space back to the disk.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="A data folder where no broker runs; without it, the running broker is asked.")  # fmt: skip
@broker_options
def compact(data: Path | None, url: str, connect_timeout_ms: int) -> int:
    """Write the store's file anew, without its free space and without anything that was deleted.

    The broker goes on meanwhile. It needs as much free disk as the store then has. A kill at any moment leaves a whole
    store: the old file, or the new one.
    """
    if data is not None:
        _say(*_compact_folder(data))
        return Exit.OK

    async def job(client: Client) -> int:
        _say(*await client.compact())
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


def _compact_folder(data: Path) -> tuple[int, int]:
    try:
        with told_apart(data):
            return compact_folder(data)
    except Damaged as damage:
        raise Failure(f"{data} is damaged: {damage}. Nothing was changed.", Exit.DAMAGED) from None


def _say(before: int, after: int) -> None:
    say(f"compacted: {show_bytes(before)} were, {show_bytes(after)} are")
