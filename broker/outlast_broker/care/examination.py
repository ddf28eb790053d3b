"""Looks at a data folder and the machine around it, and says in words what is wrong and what to do. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..configuration.quantities import show_bytes
from ..folder import free_bytes, holder, left_behind
from ..lmdb_file import Extent, Slot, StoreError, StoreFile, WrongFormat, data_file
from .finding import Finding, error, note, ok, warning
from .verification import Told, verify

EXIT_DAMAGED, EXIT_UNAVAILABLE, EXIT_FULL = os.EX_DATAERR, os.EX_UNAVAILABLE, os.EX_IOERR
# Each connection takes one file, and so does a request by HTTP.
FILES_MIN = 4_096
# Up to this a store is gone through whole; of a larger one every so many chunks.
WHOLE_BYTES_MAX = 64 << 20
SAMPLED = 100
# Free space within the file that is worth giving back.
SLACK_BYTES_MIN = 64 << 20
# Where fsync means nothing, or files go with the machine.
NETWORKS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"}
IN_MEMORY = {"tmpfs", "ramfs"}


def examine(
    folder: Path, reserve_bytes: int, *, whole: bool = False, told: Told = lambda done, of: None
) -> Iterator[Finding]:
    """`whole`: goes through a large store whole, too."""
    if not folder.is_dir():
        yield error("data folder", f"{folder} is not there", "A broker keeps its records in it.",
                    f"start one, which makes it: outlast serve --data {folder}; or name another with --data",
                    EXIT_UNAVAILABLE)  # fmt: skip
        return
    yield from _permissions(folder)
    yield from _file_system(folder)
    yield from _in_use(folder)
    yield from _open_files(folder)
    yield from _store(folder, reserve_bytes, whole, told)


def _permissions(folder: Path) -> Iterator[Finding]:
    closed = [path for path in (folder, *folder.glob("*.mdb"), *folder.glob("*.lock")) if not _is_open(path)]
    if closed:
        owner = folder.stat().st_uid
        yield error("permissions", f"{closed[0]} may not be read and written by user {os.geteuid()}",
                    f"The folder belongs to user {owner}; a broker that may not write does not start.",
                    f"run brokers and these commands as user {owner}: sudo -u '#{owner}' outlast doctor",
                    EXIT_UNAVAILABLE)  # fmt: skip
    else:
        yield ok("permissions", f"{folder} can be read and written")


def _is_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))


def _file_system(folder: Path) -> Iterator[Finding]:
    kind = file_system(folder)
    if kind in NETWORKS:
        yield error("file system", f"{folder} is on {kind}",
                    "LMDB maps its file and locks it: over a network neither is safe, and what was acknowledged may be "
                    "lost.", "move the store to a local disk: outlast backup, then outlast restore there",
                    EXIT_UNAVAILABLE)  # fmt: skip
    elif kind in IN_MEMORY:
        yield warning("file system", f"{folder} is on {kind}", "It is memory: a restart of the machine forgets it all.",
                      "give --data a folder on a disk")  # fmt: skip
    else:
        yield ok("file system", kind or "not known")


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of the file system that `path` is on, "" where that cannot be known."""
    best, kind = "", ""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    place = str(path.resolve())
    for line in lines:
        _, mount, found, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if len(mount) >= len(best) and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            best, kind = mount, found
    return kind


def _in_use(folder: Path) -> Iterator[Finding]:
    pid = holder(folder)
    if pid is not None:
        yield ok("broker", f"process {pid} has the folder")
    elif (killed := left_behind(folder)) is not None:
        yield note("broker", f"none has the folder; the last one, process {killed}, did not stop by itself",
                   "It was killed, or the machine lost power. That loses nothing that was acknowledged: the next start "
                   "reads the journal back.", "if nobody killed it, look why: its log, and `journalctl -k` for "
                   "out-of-memory kills")  # fmt: skip
    else:
        yield ok("broker", "none has the folder, and the last one stopped by itself")


def _open_files(folder: Path) -> Iterator[Finding]:
    """Of the broker if it can be seen, else of what would be started from here."""
    pid = holder(folder)
    allowed = files_allowed(f"/proc/{pid}/limits") or files_allowed("/proc/self/limits")
    if allowed is not None and allowed < FILES_MIN:
        yield warning("open files", f"{'the broker' if pid else 'a process started here'} may have {allowed:,}",
                      "Each connection takes one: beyond that nobody gets in.",
                      "raise it: LimitNOFILE= in the systemd unit, or ulimit -n 65536")  # fmt: skip
    elif allowed is not None:
        yield ok("open files", f"{allowed:,} allowed")


def files_allowed(limits: str) -> int | None:
    try:
        lines = Path(limits).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


# --- the store --------------------------------------------------------------------------------------------


def _store(folder: Path, reserve_bytes: int, whole: bool, told: Told) -> Iterator[Finding]:
    if not data_file(folder).exists():
        yield note("store", f"{folder} has none yet", "No broker has run on it.", f"outlast serve --data {folder}")
        return
    try:
        with StoreFile(folder) as store:
            extent, readers = store.extent(), store.readers()
    except WrongFormat as wrong:
        yield error("store", str(wrong), "A broker refuses it and changes nothing.",
                    "outlast restore BACKUP --data ANOTHER_FOLDER", EXIT_DAMAGED)  # fmt: skip
        return
    except (StoreError, OSError) as failure:
        yield error("store", f"it cannot be opened: {failure}", "A broker could not open it either.",
                    f"outlast verify {folder}", EXIT_UNAVAILABLE)  # fmt: skip
        return
    yield from _disk(folder, extent, reserve_bytes)
    yield from _readers(readers)
    yield from _contents(folder, extent, whole, told)


def _disk(folder: Path, extent: Extent, reserve_bytes: int) -> Iterator[Finding]:
    free = free_bytes(folder)
    if free < reserve_bytes:
        yield error("disk", f"{show_bytes(free)} are free, the reserve is {show_bytes(reserve_bytes)}",
                    "The broker is read-only until there is more: publishers wait.",
                    "free some on that disk; deleting channels makes room inside the store only, until "
                    "`outlast compact`", EXIT_FULL)  # fmt: skip
    elif free < extent.used_bytes + reserve_bytes:
        yield warning("disk", f"{show_bytes(free)} are free, the store has {show_bytes(extent.used_bytes)} in use",
                      "Compacting, and deleting with --hard, need room for a copy.",
                      "free some on that disk")  # fmt: skip
    else:
        yield ok("disk", f"{show_bytes(free)} are free")
    slack = extent.file_bytes - extent.used_bytes
    if slack > max(SLACK_BYTES_MIN, extent.used_bytes):
        yield note("size", f"of {show_bytes(extent.file_bytes)} in the file {show_bytes(slack)} are free space",
                   "It is used again, but the file does not shrink by itself.", "outlast compact")  # fmt: skip
    else:
        yield ok("size", f"{show_bytes(extent.file_bytes)}, {show_bytes(extent.used_bytes)} of it in use")


def _readers(readers: list[Slot]) -> Iterator[Finding]:
    dead = sorted({slot.pid for slot in readers if not Path(f"/proc/{slot.pid}").exists()})
    if dead and Path("/proc/self").exists():
        yield warning("readers", f"process {dead[0]} read the store and was killed",
                      "What it read stays pinned and the file grows.",
                      "a running broker lets it go within a minute, and a start does at once")  # fmt: skip
    else:
        yield ok("readers", "none is stuck")


def _contents(folder: Path, extent: Extent, whole: bool, told: Told) -> Iterator[Finding]:
    every = 1 if whole or extent.used_bytes <= WHOLE_BYTES_MAX else SAMPLED
    verdict = verify(folder, told, every)
    looked = "all of it" if every == 1 else f"one chunk in {every} and everything else"
    if verdict.is_whole:
        yield ok("contents", f"{verdict.records:,} records in {verdict.channels:,} channels, whole ({looked})")
    else:
        yield error("contents", f"{verdict.fault_count:,} faults, the first: {verdict.faults[0]}",
                    "Bytes on the disk are not what was written. A broker refuses to serve them, and does not guess.",
                    f"outlast verify {folder}; then check the disk, and restore a backup: outlast restore",
                    EXIT_DAMAGED)  # fmt: skip
    if every > 1:
        yield note("contents", "not every chunk was read", "The store is large.", f"outlast verify {folder}")
