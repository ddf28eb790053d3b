"""A backup becomes a store again.

A restored store is the past, and what was given out since must not fit it by chance. So, unless the epochs are kept,
every channel gets a new one, and readers who are ahead are told `recreated` (PROTOCOL.md 6.5); tokens of leases and
claims, and the numbers of channels, go on from far above; a lease or claim that was held is nobody's, and its time runs
out by itself. Producers are remembered: what they send again, and is there, is stored once.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgpack

from .. import claim, head
from ..claim import Status
from ..claiming import CLAIM_ROW, TOKEN_ROW as CLAIM_TOKEN_ROW
from ..folder import DataFolder, check_room
from ..lease import LEASE_ROW, TOKEN_ROW, pack_token, read_lease, read_token
from ..lmdb_file import (
    DATA_FILE,
    HEAD_MARK,
    LOCK_FILE,
    U64,
    Edit,
    data_file,
    editing,
    leave_to_owner,
    sealed,
    sync_folder,
    unsealed,
)
from .backup import backups, part_of, put_in_place, remove_remains, stamp
from .verification import Told, Verdict, verify

PIECE_BYTES = 1 << 20
# More than is given out between two backups.
LEAP = 1 << 16
ASIDE = "before-restore-{}.mdb"


class NotRestored(Exception):
    """Nothing was changed; the message says what to do."""


class Restored(NamedTuple):
    """`aside` is what was in the folder before, if anything."""

    verdict: Verdict
    aside: Path | None = None


def restore(
    backup: Path, folder: Path, now_ms: int, *, replace: bool = False, keep_epochs: bool = False,
    told: Told = lambda done, of: None,
) -> Restored:  # fmt: skip
    """Verifies first: what is damaged is not restored. Raises NotRestored, FolderInUse, WrongFormat, OSError."""
    _check_is_file(backup)
    verdict = verify(backup, told)
    if not verdict.is_whole:
        return Restored(verdict)
    home = DataFolder(folder)
    try:
        return Restored(verdict, _put(backup, folder, now_ms, replace, keep_epochs))
    finally:
        leave_to_owner(folder)
        home.release()


def _check_is_file(backup: Path) -> None:
    found = backups(backup) if backup.is_dir() else []
    if found:
        raise NotRestored(f"{backup} is a folder of backups: name one of them, the newest is {found[-1]}")
    data_file(backup).open("rb").close()


def _put(backup: Path, folder: Path, now_ms: int, replace: bool, keep_epochs: bool) -> Path | None:
    final = folder / DATA_FILE
    if final.exists() and not replace:
        text = f"{folder} holds a store already: give --data another folder"
        raise NotRestored(f"{text}, or --force to put the backup in its place and keep the store beside it")
    remove_remains(folder)
    check_room(folder, data_file(backup).stat().st_size)
    with part_of(final) as part:
        with data_file(backup).open("rb") as source:
            shutil.copyfileobj(source, part, PIECE_BYTES)
        _renew(part, keep_epochs)
        aside = folder / ASIDE.format(stamp(now_ms)) if final.exists() else None
        if aside is not None:
            os.link(final, aside)
        put_in_place(part, final)
    # A table of the readers of another file.
    (folder / LOCK_FILE).unlink(missing_ok=True)
    sync_folder(folder)
    return aside


# --- what must not fit --------------------------------------------------------------------------------------


def _renew(part: BinaryIO, keep_epochs: bool) -> None:
    part.flush()
    if keep_epochs:
        return
    with editing(Path(part.name)) as edit:
        _renew_epochs(edit)
        _renew_rows(edit)
        _leap_numbers(edit)


def _renew_epochs(edit: Edit) -> None:
    for names in edit.slices("names"):
        for name, stored in names:
            key = unsealed(name, stored) + U64.pack(HEAD_MARK)
            value = edit.view.get("chunks", key)
            assert value is not None, "the backup is verified"
            found = head.decode(unsealed(key, value))
            edit.put("chunks", key, sealed(key, found._replace(epoch=secrets.randbits(64)).encode()))


def _renew_rows(edit: Edit) -> None:
    for rows in edit.slices("rows"):
        for key, stored in rows:
            number, name = U64.unpack_from(key)[0], key[U64.size :]
            value = unsealed(key, stored)
            renewed = _renewed_lease(name, value) if number == 0 else _renewed(name, value)
            if renewed != value:
                edit.put("rows", key, sealed(key, renewed))


def _renewed_lease(name: bytes, value: bytes) -> bytes:
    if not name.startswith(LEASE_ROW):
        return value
    held = read_lease(name, value, 0)[1]
    return held._replace(token=held.token + LEAP, nonce=0).pack()


def _renewed(name: bytes, value: bytes) -> bytes:
    """The highest tokens leap further than those in force: what is given from now on lies above them, too."""
    if name == TOKEN_ROW:
        return pack_token(read_token(value) + 2 * LEAP)
    if name == CLAIM_TOKEN_ROW:
        token, *rest = msgpack.unpackb(value)
        packed: bytes = msgpack.packb([token + 2 * LEAP, *rest])
        return packed
    if name.startswith(CLAIM_ROW):
        held = claim.decode(value)
        return held._replace(token=held.token + LEAP, nonce=0).encode() if held.status is Status.IN_PROGRESS else value
    return value


def _leap_numbers(edit: Edit) -> None:
    stored = edit.view.get("store", b"next")
    if stored is not None:
        following = U64.unpack(unsealed(b"next", stored))[0] + LEAP
        edit.put("store", b"next", sealed(b"next", U64.pack(following)))
