"""A copy of a store as of one moment, while a broker works on it or not.

    outlast-20261201T053000.123Z.mdb           a backup: whole, and on the disk
    .outlast-20261201T053000.123Z.mdb.part     one that is being made; locked by whoever makes it

LMDB copies within one read transaction. It writes into a pipe: however slow the disk behind it is, the broker waits for
the first two pages only, and these fit the pipe.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import BinaryIO, NamedTuple

from ..folder import check_room
from ..lmdb_file import SYNC_BYTES, Extent, StoreFile, sync_folder
from .verification import Told, Verdict, verify

PREFIX, SUFFIX, PART = "outlast-", ".mdb", ".part"
PIECE_BYTES = 1 << 20


class Backup(NamedTuple):
    path: Path
    bytes: int
    # None: it was not verified.
    verdict: Verdict | None
    removed: list[Path]


def back_up(
    source: Path, folder: Path, now_ms: int, *, compact: bool = False, verified: bool = True, keep: int = 0,
    told: Told = lambda done, of: None,
) -> Backup:  # fmt: skip
    """Makes one backup of the data folder `source` in `folder`, and removes the oldest if there are more than `keep`.

    A copy that fails verification stays a part and is removed. Raises what opening raises, NoRoom, OSError, StoreError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_remains(folder)
    final = folder / f"{PREFIX}{stamp(now_ms)}{SUFFIX}"
    verdict = None
    with part_of(final) as part:
        with StoreFile(source) as store:
            extent = store.extent()
            check_room(folder, extent.used_bytes if compact else extent.file_bytes)
            size = _copy(store, part, compact, extent, told)
        if verified:
            verdict = verify(Path(part.name), told)
        if verdict is None or verdict.is_whole:
            put_in_place(part, final)
    return Backup(final, size, verdict, _remove_old(folder, keep) if final.exists() else [])


def stamp(now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{now_ms % 1000:03}Z"


def _copy(store: StoreFile, part: BinaryIO, compact: bool, extent: Extent, told: Told) -> int:
    """How many bytes were written."""
    failures: list[Exception] = []
    reading, writing = os.pipe()
    copier = Thread(target=_fill, args=(store, writing, compact, failures), daemon=True)
    copier.start()
    done, synced = 0, 0
    of = extent.used_bytes if compact else extent.file_bytes
    try:
        with open(reading, "rb", buffering=0) as pipe:
            while piece := pipe.read(PIECE_BYTES):
                part.write(piece)
                done += len(piece)
                if done - synced >= SYNC_BYTES:
                    synced = done
                    part.flush()
                    os.fdatasync(part.fileno())
                told(min(done, of), of)
    finally:
        copier.join()
    for failure in failures:
        raise failure
    part.flush()
    return done


def _fill(store: StoreFile, writing: int, compact: bool, failures: list[Exception]) -> None:
    try:
        store.copy_to(writing, compact)
    except Exception as failure:
        failures.append(failure)
    finally:
        os.close(writing)


# --- files that appear whole or not at all ----------------------------------------------------------------


@contextmanager
def part_of(final: Path) -> Iterator[BinaryIO]:
    """A file beside `final` that is gone afterwards, unless it was put in its place. It holds all that was ever said in
    confidence, so nobody else may read it.
    """
    path = final.with_name(f".{final.name}{PART}")
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX)
            yield part
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def put_in_place(part: BinaryIO, final: Path) -> None:
    """From now on the part has its final name, and a power cut does not take it back."""
    part.flush()
    os.fsync(part.fileno())
    os.rename(part.name, final)
    sync_folder(final.parent)


def remove_remains(folder: Path) -> None:
    """Parts whose makers were killed; one that is being made is locked."""
    for path in folder.glob(f".*{PART}"):
        with path.open("rb") as part, suppress(BlockingIOError):
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)


def backups(folder: Path) -> list[Path]:
    """The oldest first: their names are their times."""
    return sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))


def _remove_old(folder: Path, keep: int) -> list[Path]:
    old = backups(folder)[: -keep or None] if keep else []
    for path in old:
        path.unlink()
    return old
