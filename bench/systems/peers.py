"""Where peers are found: on the PATH, or in the folder that OUTLAST_BENCH_PEERS names (bench/README.md)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

VARIABLE = "OUTLAST_BENCH_PEERS"
# Where Debian puts daemons, which is not on everybody's PATH.
DAEMONS = "/usr/sbin"


def folder() -> Path:
    return Path(os.environ.get(VARIABLE, Path.home() / ".cache" / "outlast-bench"))


def program(name: str) -> str | None:
    """The path of a program that may have been installed by the package manager, pip or by hand."""
    places = os.pathsep.join([os.environ.get("PATH", ""), DAEMONS, str(folder() / "venv" / "bin")])
    return shutil.which(name, path=places)


def node_module(name: str) -> Path | None:
    module = folder() / "node_modules" / name
    return module if module.is_dir() else None
