"""The store's file: what its databases are, how it is opened, and how it is read beside the broker that has it.

`LmdbLog` is the broker's own way in; a `StoreFile` is everybody else's: it reads, in another process if need be, and
LMDB keeps the two apart by its table of readers. A backup is such a file, too.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import lmdb

from .damage import Damaged
from .folder import LOCK_FILE as BROKER_LOCK

FORMAT = 1
DATABASES = ("store", "names", "chunks", "journal", "due", "doomed", "cursors", "rows")
DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"
# Whoever opens the store beside the broker shares this lock while he does; the broker has it alone to change the file.
OPENING_FILE = "opening.lock"
COPY_FOLDER = "compacting"
# A copy is synced this often: a commit's fsync may have to wait for all that others have written to the same disk.
SYNC_BYTES = 8 << 20
U64 = Struct(">Q")
PAIR = Struct(">QQ")
# In the place of a chunk's first offset: the channel's head.
HEAD_MARK = 2**64 - 1
# Address space for reading: the store may grow meanwhile.
_MAP_BYTES_MIN = 16 << 30
_MAP_FACTOR = 4

# What a commit raises when the disk refuses, and what reading raises where LMDB itself sees damage.
StoreError = lmdb.Error


class WrongFormat(Exception):
    """The folder holds a store that this version must not touch."""


# --- small values -----------------------------------------------------------------------------------------


def sealed(key: bytes, value: bytes) -> bytes:
    """Small values bear a checksum that covers their key as well; chunks and journal values have their own."""
    return crc32(key + value).to_bytes(4, "little") + value


def unsealed(key: bytes, stored: bytes) -> bytes:
    """Raises Damaged."""
    value = stored[4:]
    if crc32(key + value) != int.from_bytes(stored[:4], "little"):
        raise Damaged(f"the store's entry {key!r} fails its checksum")
    return value


# --- opening ----------------------------------------------------------------------------------------------


def open_environment(folder: Path, map_bytes: int) -> lmdb.Environment:
    """For writing. Pages are cleared before they are used: what the process had in memory stays out of the file."""
    with _said_in_words(folder / DATA_FILE):
        return lmdb.open(
            str(folder), map_size=map_bytes, max_dbs=len(DATABASES), max_readers=64, readahead=False, meminit=True
        )


def check_format(env: lmdb.Environment, path: Path) -> bool:
    """Whether there is a store; a store of another format is refused untouched. docs/operating.md has the rule."""
    with env.begin() as txn:
        known = txn.get(b"store") is not None
        if not known and txn.stat()["entries"]:
            raise WrongFormat(f"{path} holds a database that is not Outlast's: give --data another folder")
    if not known:
        return False
    store = env.open_db(b"store", create=False)
    with env.begin(db=store) as txn:
        found = U64.unpack(txn.get(b"format", bytes(8)))[0]
    if found != FORMAT:
        text = f"{path} holds store format {found}, this version reads {FORMAT}"
        raise WrongFormat(f"{text}: install the version of Outlast that wrote it")
    return True


@contextmanager
def _said_in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
        text = f"{path} is not a store of Outlast's, or its first pages are damaged ({error})"
        raise WrongFormat(f"{text}: restore it from a backup, or give --data another folder") from None


@contextmanager
def opening_lock(folder: Path, alone: bool = False) -> Iterator[None]:
    """Nobody opens the store while the broker has this alone; shared, the file stays the one that it is."""
    file = folder / OPENING_FILE
    if not file.exists():
        file.touch()
    with file.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def leave_to_owner(folder: Path) -> None:
    """What root made here must not be in the way of the broker, which is somebody else."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    for name in (DATA_FILE, LOCK_FILE, OPENING_FILE, BROKER_LOCK):
        with suppress(FileNotFoundError):
            if (folder / name).lstat().st_uid != owner.st_uid:
                # Not through a link, which that somebody may have put there.
                os.chown(folder / name, owner.st_uid, owner.st_gid, follow_symlinks=False)


# --- reading from beside ----------------------------------------------------------------------------------


class Extent(NamedTuple):
    """How large a store is: its file, what of it is in use, and how many entries each database has."""

    file_bytes: int
    used_bytes: int
    entries: dict[str, int]


class Slot(NamedTuple):
    """A place in LMDB's table of readers: who has it, and since which transaction; None: it reads nothing now."""

    pid: int
    transaction: int | None


class View:
    """The store as of one moment. What it gives is copied out: it may be kept when the view is over."""

    def __init__(self, txn: lmdb.Transaction, databases: dict[str, lmdb._Database]) -> None:
        self._txn = txn
        self._databases = databases

    def get(self, database: str, key: bytes) -> bytes | None:
        found = self._txn.get(key, db=self._databases[database])
        return None if found is None else bytes(found)

    def items(self, database: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries in the order of their keys, from `start` on."""
        with self._txn.cursor(db=self._databases[database]) as cursor:
            if cursor.set_range(start) if start else cursor.first():
                for key, value in cursor:
                    yield bytes(key), bytes(value)

    def before(self, database: str, key: bytes) -> tuple[bytes, bytes] | None:
        """The last entry whose key is below this one."""
        with self._txn.cursor(db=self._databases[database]) as cursor:
            there = cursor.set_range(key)
            if not (cursor.prev() if there else cursor.last()):
                return None
            return bytes(cursor.key()), bytes(cursor.value())

    def extent(self, env: lmdb.Environment) -> Extent:
        stats = {name: self._txn.stat(database) for name, database in self._databases.items()}
        pages = sum(stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"] for stat in stats.values())
        page_bytes = env.stat()["psize"]
        file_bytes = (env.info()["last_pgno"] + 1) * page_bytes
        return Extent(file_bytes, pages * page_bytes, {name: stat["entries"] for name, stat in stats.items()})


class StoreFile:
    """A store that is read from beside: `path` is a data folder, where a broker may be at work, or a backup's file."""

    def __init__(self, path: Path) -> None:
        """Raises WrongFormat, and OSError and StoreError for what cannot be opened."""
        self.path = path
        file = data_file(path)
        map_bytes = max(_MAP_BYTES_MIN, _MAP_FACTOR * file.stat().st_size)
        if not file.stat().st_size:
            raise WrongFormat(f"{file} is empty: no broker ever ran on it")
        with opening_lock(path) if path.is_dir() else _no_lock(), _said_in_words(file):
            self._env = lmdb.open(
                str(path), subdir=path.is_dir(), lock=path.is_dir(), map_size=map_bytes, max_dbs=len(DATABASES),
                readonly=True, readahead=False,
            )  # fmt: skip
        try:
            if path.is_dir():
                leave_to_owner(path)
            if not check_format(self._env, path):
                raise WrongFormat(f"{path} holds no store: no broker ever ran on it")
            self._databases = {name: self._env.open_db(name.encode(), create=False) for name in DATABASES}
        except BaseException:
            self._env.close()
            raise

    def close(self) -> None:
        self._env.close()

    @contextmanager
    def view(self) -> Iterator[View]:
        """Pins the pages that it sees: a broker at work cannot use them again until this is over."""
        with self._env.begin() as txn:
            yield View(txn, self._databases)

    def extent(self) -> Extent:
        with self.view() as view:
            return view.extent(self._env)

    def copy_to(self, descriptor: int, compact: bool) -> None:
        """Writes the store as of one moment. Not compact, LMDB keeps the broker from committing until the first two
        pages are written: `descriptor` must take 8 KiB without waiting."""
        self._env.copyfd(descriptor, compact=compact)

    def readers(self) -> list[Slot]:
        """Who reads; those whose process is gone are let go by `drop_dead_readers`."""
        rows = [line.split() for line in self._env.readers().splitlines()[1:]]
        return [Slot(int(row[0]), None if row[2] == "-" else int(row[2])) for row in rows if len(row) == 3]

    def drop_dead_readers(self) -> int:
        """How many processes ended while they read, and kept pages pinned."""
        return self._env.reader_check()

    def __enter__(self) -> StoreFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- a copy that takes the file's place ---------------------------------------------------------------------


class NewFile:
    """A store's file that is being written in a folder of its own. Nobody has it open: it is synced at its end.

    `append` takes entries in the order of their keys; `change` comes later.
    """

    def __init__(self, folder: Path, map_bytes: int) -> None:
        remove_copy(folder)
        (folder / COPY_FOLDER).mkdir()
        self._folder = folder
        self._env = lmdb.open(
            str(folder / COPY_FOLDER), map_size=map_bytes, max_dbs=len(DATABASES), lock=False, sync=False,
            readahead=False, meminit=True,
        )  # fmt: skip
        self._databases = {name: self._env.open_db(name.encode()) for name in DATABASES}
        self._unsynced_bytes = 0

    def append(self, database: str, items: list[tuple[bytes, bytes]]) -> None:
        with self._env.begin(write=True) as txn, txn.cursor(db=self._databases[database]) as cursor:
            cursor.putmulti(items, append=True)
        self._unsynced_bytes += sum(len(key) + len(value) for key, value in items)
        if self._unsynced_bytes >= SYNC_BYTES:
            self._unsynced_bytes = 0
            self.sync()

    def change(self, database: str, items: list[tuple[bytes, bytes | None]]) -> None:
        """None takes the entry away."""
        with self._env.begin(write=True, db=self._databases[database]) as txn:
            for key, value in items:
                if value is None:
                    txn.delete(key)
                else:
                    txn.put(key, value)

    def sync(self) -> None:
        self._env.sync(True)

    def finish(self) -> None:
        """Now it is on the disk."""
        self.sync()
        self._env.close()

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()
        remove_copy(self._folder)


def remove_copy(folder: Path) -> None:
    """One that was not finished."""
    shutil.rmtree(folder / COPY_FOLDER, ignore_errors=True)


def put_copy_in_place(folder: Path) -> None:
    """A finished copy is the store's file from now on; with a table of readers of its own."""
    (folder / LOCK_FILE).unlink(missing_ok=True)
    os.rename(folder / COPY_FOLDER / DATA_FILE, folder / DATA_FILE)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """What has a name in it has it after a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- changing a file that nobody has open --------------------------------------------------------------------


class Edit:
    """One transaction that changes a store's file."""

    def __init__(self, txn: lmdb.Transaction, databases: dict[str, lmdb._Database]) -> None:
        self.view = View(txn, databases)
        self._txn = txn
        self._databases = databases

    def slices(self, database: str, start: bytes = b"", count: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """All entries from `start` on, some at a time: meanwhile they may be changed, but not their keys."""
        while found := list(islice(self.view.items(database, start), count)):
            yield found
            start = found[-1][0] + b"\0"

    def put(self, database: str, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._databases[database])


@contextmanager
def editing(file: Path) -> Iterator[Edit]:
    """On the disk when it ends; an exception leaves the file as it was."""
    env = lmdb.open(
        str(file), subdir=False, lock=False, map_size=max(_MAP_BYTES_MIN, _MAP_FACTOR * file.stat().st_size),
        max_dbs=len(DATABASES), readahead=False, meminit=True,
    )  # fmt: skip
    try:
        databases = {name: env.open_db(name.encode(), create=False) for name in DATABASES}
        with env.begin(write=True) as txn:
            yield Edit(txn, databases)
    finally:
        env.close()


@contextmanager
def _no_lock() -> Iterator[None]:
    yield


def data_file(path: Path) -> Path:
    """The file itself: that of a data folder, or the backup that `path` is."""
    return path / DATA_FILE if path.is_dir() else path


def structure_faults(path: Path) -> list[str]:
    """What is wrong with the pages of a store that nobody writes to. Asks no C code: that could end the process."""
    from lmdb.verify import VerifyError, verify

    try:
        faults: list[str] = verify(str(data_file(path)))  # type: ignore[no-untyped-call]
    except VerifyError as error:
        return [str(error)]
    except (ValueError, IndexError, RecursionError, MemoryError) as error:
        return [f"its pages cannot be followed ({type(error).__name__}: {error})"]
    return faults
