"""Writes a store with many channels, one chunk of one batch in each: `python -m bench.build_store FOLDER COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path

from outlast_broker.chunk import HEAD_BYTES
from outlast_broker.config import Config
from outlast_broker.head import Head
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Creation, Move, Work
from outlast_protocol.batch import encode_batch, stamp

SLICE = 20_000
TIME_MS = 1_700_000_000_000


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    log = LmdbLog(folder, Config().map_bytes)
    batch = stamp(encode_batch("bench", [(bytes(64), None, None)]), 1, TIME_MS)
    for start in range(0, count, SLICE):
        log.commit(slice_of(log, range(start, min(start + SLICE, count)), batch))
    log.close()


def slice_of(log: LmdbLog, indexes: range, batch: bytes) -> Work:
    """One commit's share of the channels."""
    work = Work()
    chunk_bytes = HEAD_BYTES + len(batch)
    for index in indexes:
        number = log.next_number()
        head = Head(
            f"stored:{index:07}",
            index + 1,
            TIME_MS,
            1,
            2,
            TIME_MS,
            chunk_bytes,
            last_chunk=1,
            last_chunk_bytes=chunk_bytes,
        )
        work.births.append(Creation(number, head))
        work.moves.append(Move(number, [[batch]], 0))
    return work


if __name__ == "__main__":
    main()
