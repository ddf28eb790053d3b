"""A broker process whose world can be made worse. Run as a file: DATA SOCKET KNOBS [NAME=NUMBER ...].

KNOBS is a folder; what lies in it when the process starts is rigged, and the files are read again at every use:

    free_bytes       what the data folder says is free
    read_only          the disk takes nothing
    mounted_read_only  1 if the data folder's disk says that it is
    clock_shift_ms   how far the broker's clock is off
    tick_ms          how often the broker looks after things
    die              "before N" or "after N": SIGKILL around the Nth commit that has records in it
    disk             "TARGET FILES [heals]": at SIGUSR1 the files of the store become TARGET, which refuses to write
                     (/dev/full) or to sync (/dev/null). FILES: "pages", "meta" or "pages+meta"; never "meta" with
                     /dev/null, which would swallow it: no disk says that it has what it has not
                     "heals" gives the real files back after the first failure, so that a second commit would pass
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from outlast_broker import clock, server
from outlast_broker.config import Config
from outlast_broker.folder import DataFolder
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Outcome, Work
from outlast_broker.serve import serve

_COMMIT = LmdbLog.commit


def rig(knobs: Path, data: Path) -> None:
    if (knobs / "free_bytes").exists():
        setattr(DataFolder, "free_bytes", lambda self: _number(knobs / "free_bytes"))  # noqa: B010
    if (knobs / "read_only").exists():
        setattr(DataFolder, "_acquire", _refuse_to_write)  # noqa: B010
    if (knobs / "mounted_read_only").exists():
        setattr(DataFolder, "is_read_only", lambda self: bool(_number(knobs / "mounted_read_only")))  # noqa: B010
    if (knobs / "clock_shift_ms").exists():
        real_ms = clock.now_ms
        clock.now_ms = lambda: real_ms() + _number(knobs / "clock_shift_ms")
    if (knobs / "tick_ms").exists():
        server.TICK_S = _number(knobs / "tick_ms") / 1000
    if (knobs / "die").exists():
        when, count = (knobs / "die").read_text().split()
        _die_around_commit(when, int(count))
    if (knobs / "disk").exists():
        _Disk(data / "data.mdb", *(knobs / "disk").read_text().split()).wait_for_signal()


def _refuse_to_write(folder: DataFolder, file: Path) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))


def _number(file: Path) -> int:
    return int(file.read_text())


def _die_around_commit(when: str, count: int) -> None:
    seen = 0

    def commit(self: LmdbLog, work: Work) -> Outcome:
        nonlocal seen
        seen += bool(work.journal)
        mine = bool(work.journal) and seen == count
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = _COMMIT(self, work)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    setattr(LmdbLog, "commit", commit)  # noqa: B010


class _Disk:
    """LMDB has its file open twice: for pages, which it syncs, and with O_DSYNC for the meta page."""

    def __init__(self, file: Path, target: str, files: str, heals: str = "") -> None:
        self._file = file.resolve()
        self._target = os.open(target, os.O_RDWR)
        self._files = files.split("+")
        self._taken: dict[int, int] = {}
        if heals:
            self._heal_after_failure()

    def wait_for_signal(self) -> None:
        """Threads that are made later inherit the mask, so the signal finds the one that waits for it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        threading.Thread(target=self._break, name="disk", daemon=True).start()

    def _break(self) -> None:
        signal.sigwait({signal.SIGUSR1})
        for number in list(self._descriptors()):
            self._taken[number] = os.dup(number)
            os.dup2(self._target, number)

    def _descriptors(self) -> Iterator[int]:
        for entry in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{entry}") != str(self._file):
                    continue
                synced = fcntl.fcntl(int(entry), fcntl.F_GETFL) & os.O_DSYNC
            except OSError:  # the descriptor of the listing itself
                continue
            if ("meta" if synced else "pages") in self._files:
                yield int(entry)

    def _heal_after_failure(self) -> None:
        def commit(log: LmdbLog, work: Work) -> Outcome:
            try:
                return _COMMIT(log, work)
            except Exception:
                for number, real in self._taken.items():
                    os.dup2(real, number)
                raise

        setattr(LmdbLog, "commit", commit)  # noqa: B010


def main(arguments: list[str]) -> int:
    """Says `ready` on stdout. `data` of the config is DATA; other settings are numbers."""
    data, path, knobs, *settings = arguments
    rig(Path(knobs), Path(data))
    given = {name: int(value) for name, _, value in (each.partition("=") for each in settings)}
    config = Config(data=Path(data), listen=(f"unix:{path}",), **given)  # type: ignore[arg-type]
    return serve(config, lambda addresses: print("ready", flush=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
