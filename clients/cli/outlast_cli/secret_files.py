"""Files of keys: nobody else may read those with secrets, and all are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

# Of a JWK: what only those who sign may know; `k` is what both ends share.
ASYMMETRIC_PARTS = ("d", "p", "q", "dp", "dq", "qi")
PRIVATE_PARTS = (*ASYMMETRIC_PARTS, "k")


def read_text(path: Path) -> str:
    """ "" if it is not there."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def write_text(path: Path, text: str, secret: bool) -> None:
    """In place of what was there. A new file with secrets is for its owner alone, no file with them for all."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600 if secret else 0o644
    if secret:
        mode &= 0o770
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_jwk_rows(path: Path) -> list[dict[str, Any]]:
    """The keys of a JWK Set; none if there is no file. Raises UsageError."""
    text = read_text(path)
    try:
        rows = json.loads(text)["keys"] if text.strip() else []
    except (ValueError, TypeError, KeyError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise click.UsageError(f'{path} is no JWK Set: {{"keys": [...]}}')
    return rows


def add_jwk_row(path: Path, row: Mapping[str, Any]) -> None:
    """Raises UsageError when there is one with its kid."""
    rows = read_jwk_rows(path)
    if any(each.get("kid") == row["kid"] for each in rows):
        raise click.UsageError(f"{path} has a key {row['kid']!r} already: give another --kid")
    secret = any(part in row for part in PRIVATE_PARTS)
    write_text(path, json.dumps({"keys": [*rows, row]}, indent=2) + "\n", secret)
