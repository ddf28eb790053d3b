"""Compacts the store of a folder where no broker runs: as a broker would, for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from ..config import Config
from ..engine import Engine
from ..folder import DataFolder
from ..lmdb_file import StoreFile, leave_to_owner
from ..lmdb_log import LmdbLog
from ..log import Compacted


def compact(folder: Path) -> Compacted:
    """Raises FolderInUse, WrongFormat, Damaged, NoRoom, OSError, StoreError; nothing is changed then."""
    StoreFile(folder).close()
    home = DataFolder(folder)
    try:
        return uvloop.run(_compact(Config(data=folder, disk_reserve_bytes=0)))
    finally:
        leave_to_owner(folder)
        home.release()


async def _compact(config: Config) -> Compacted:
    assert config.data is not None, "there is a folder"
    loop = asyncio.get_running_loop()
    compacted: asyncio.Future[Compacted] = loop.create_future()

    def told(outcome: Compacted | Exception) -> None:
        if isinstance(outcome, Compacted):
            compacted.set_result(outcome)
        else:
            compacted.set_exception(outcome)

    engine = Engine(config, LmdbLog(config.data, config.map_bytes), loop, told)
    try:
        engine.recover()
        engine.compacting.ask(told)
        return await compacted
    finally:
        engine.close()
