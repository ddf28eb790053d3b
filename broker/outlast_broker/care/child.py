"""A scan in a process of its own: LMDB ends the process where a page leads nowhere, and that is an answer, too.

Says what it finds in lines of JSON on standard output: {"of": bytes}, {"bytes": n} after each slice, and the result.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..lmdb_file import StoreError, StoreFile, WrongFormat
from .scan import Scan


def main(path: Path, every: int) -> None:
    try:
        with StoreFile(path) as store:
            _say(of=store.extent().used_bytes)
            scan = Scan(store, every)
            for size in scan.run():
                _say(bytes=size)
    except WrongFormat as error:
        _say(wrong_format=str(error))
    except StoreError as error:
        _say(faults=[f"LMDB cannot open it: {error}"], fault_count=1, channels=0, records=0)
    else:
        _say(faults=scan.faults, fault_count=scan.fault_count, channels=scan.channels, records=scan.records)


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
