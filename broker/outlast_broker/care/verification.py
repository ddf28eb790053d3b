"""Whether a store, or a backup, is what was written: its pages first, and then everything that lies in them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..folder import holder
from ..lmdb_file import WrongFormat, data_file, structure_faults

# Told how many bytes of how many are done.
Told = Callable[[int, int], None]
PAGES_TOLD = 5


class Verdict(NamedTuple):
    """`faults` are sentences, the first of them; `fault_count` counts all."""

    faults: list[str]
    fault_count: int
    channels: int = 0
    records: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.fault_count


def verify(path: Path, told: Told = lambda done, of: None, every: int = 1) -> Verdict:
    """`path` is a data folder or a backup; of its chunks one in `every` is read to its end.

    Raises WrongFormat, and OSError for what cannot be read.
    """
    data_file(path).open("rb").close()
    faults = _page_faults(path)
    if faults:
        return Verdict(faults[:PAGES_TOLD], len(faults))
    return _scan_apart(path, told, every)


def _page_faults(path: Path) -> list[str]:
    """Pages that change meanwhile cannot be judged: a broker that has them open has found its way through them."""
    if is_in_use(path):
        return []
    faults = structure_faults(path)
    return [] if is_in_use(path) else faults


def is_in_use(path: Path) -> bool:
    return path.is_dir() and holder(path) is not None


def _scan_apart(path: Path, told: Told, every: int) -> Verdict:
    command = [sys.executable, "-m", f"{__package__}.child", str(path), str(every)]
    done = of = 0
    last: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                last = json.loads(line)
                done, of = done + last.get("bytes", 0), last.get("of", of)
                told(min(done, of), of)
        finally:
            child.kill()
    if "wrong_format" in last:
        raise WrongFormat(last["wrong_format"])
    if "faults" in last:
        return Verdict(**last)
    return Verdict([f"its pages lead nowhere: LMDB gave up ({_ending(child.returncode)})"], 1)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
