"""The data folder: made when missing, locked against a second broker, watched for free space."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class FolderInUse(Exception):
    """Another process has the folder; the message names it."""


class DataFolder:
    """Holds the lock until `release`. The kernel drops it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = self._acquire(path / "broker.lock")

    def _acquire(self, file: Path) -> IO[str]:
        lock = file.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            text = f"{self.path} is in use by another Outlast broker (process {holder})"
            raise FolderInUse(f"{text}: stop that one, or give --data another folder") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def free_bytes(self) -> int:
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def release(self) -> None:
        self._lock.close()
