"""The data folder: made when missing, locked against a second broker, watched for free space."""

from __future__ import annotations

import fcntl
import os
import select
from pathlib import Path
from typing import IO

LOCK_FILE = "broker.lock"
LOCK_TRIES = 10
LOCK_PAUSE_S = 0.02


class FolderInUse(Exception):
    """Another process has the folder; the message names it."""


class NoRoom(Exception):
    """The disk has less free space than a copy needs; nothing was written."""


class DataFolder:
    """Holds the lock until `release`. The kernel drops it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = self._acquire(path / LOCK_FILE)

    def _acquire(self, file: Path) -> IO[str]:
        lock = file.open("a+")
        if not _lock(lock):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            text = f"{self.path} is in use by another Outlast broker (process {holder})"
            raise FolderInUse(f"{text}: stop that one, or give --data another folder")
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def free_bytes(self) -> int:
        return free_bytes(self.path)

    def is_read_only(self) -> bool:
        """As when the kernel has met errors on the disk, and mounted it so."""
        return bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)

    def release(self) -> None:
        """What was left by itself has no name in it: see `left_behind`."""
        self._lock.truncate(0)
        self._lock.close()


def free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def check_room(folder: Path, needed: int) -> None:
    """Raises NoRoom."""
    free = free_bytes(folder)
    if free < needed:
        raise NoRoom(f"{folder} has {free:,} bytes of free disk, the copy needs {needed:,}")


def _lock(lock: IO[str]) -> bool:
    """Tries for a moment: `holder` has the lock for as long as it takes to let it go."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            select.select([], [], [], LOCK_PAUSE_S)
        else:
            return True
    return False


def left_behind(path: Path) -> str | None:
    """The process that had the folder last, if it ended without letting it go."""
    try:
        return (path / LOCK_FILE).read_text().strip() or None
    except FileNotFoundError:
        return None


def holder(path: Path) -> str | None:
    """The process that has the folder, None: nobody has."""
    try:
        with (path / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return (path / LOCK_FILE).read_text().strip() or "unknown"
    return None
