"""Server-sent events as text (docs/http.md). Pure.

What the log holds is an event without a name, so `EventSource.onmessage` gets all of it, in order; its id is the
position of the reader who has it. Everything else has a name. An id without data moves the reader and tells nobody.
"""

from __future__ import annotations

import json
from functools import lru_cache

from outlast_protocol import Position, Record, frames as f
from outlast_protocol.batch import read_records, spans

from .record_json import record_json, state_row

HEARTBEAT = ":\n\n"
# What is remembered for the next reader of the same takes a few MB at most.
SHARED_BYTES_MAX = 16_384


def event(data: str, name: str = "", position: Position | None = None) -> str:
    """`data` is one line."""
    head = f"event: {name}\n" if name else ""
    return f"{head}{id_line(position)}data: {data}\n\n"


def id_line(position: Position | None) -> str:
    return "" if position is None else f"id: {position}\n"


def retry(wait_ms: int) -> str:
    """How long the reader waits before it comes back."""
    return f"retry: {wait_ms}\n\n"


def attached(frame: f.Attached) -> str:
    """The first event: what the channel is, and before it why that is not what was asked, if it is not."""
    state = ", ".join(map(state_row, frame.state))
    position = Position(frame.epoch, frame.after)
    said = {
        "position": str(position),
        "through": str(Position(frame.epoch, frame.through)),
        "first": frame.first,
        "messages": frame.messages,
    }
    why = "" if frame.resync is None else resync(frame.resync, position)
    return why + event(f'{json.dumps(said)[:-1]}, "state": [{state}]}}', "attached", position)


def resync(reason: str, position: Position) -> str:
    return event(json.dumps({"reason": reason, "position": str(position)}), "resync", position)


def records(batches: bytes, epoch: int, after: int) -> tuple[str, int]:
    """The records of a DELIVER beyond `after`, and its last offset; the same for all who read along."""
    return (_shared if len(batches) <= SHARED_BYTES_MAX else _records)(batches, epoch, after)


def _records(batches: bytes, epoch: int, after: int) -> tuple[str, int]:
    """Where nothing is left of its end, an id alone says where that is."""
    found = [record for record in read_records(batches) if record.offset > after]
    last = max(span.last for span in spans(batches))
    texts = [of_record(record, epoch) for record in found]
    if last > max(after, found[-1].offset if found else 0):
        texts.append(f"{id_line(Position(epoch, last))}\n")
    return "".join(texts), last


_shared = lru_cache(maxsize=64)(_records)


def of_record(record: Record, epoch: int) -> str:
    return event(record_json(record, epoch), "", Position(epoch, record.offset))


def ephemeral(batch: bytes) -> str:
    """Records that have no place: no offset, no id."""
    texts = []
    for record in read_records(batch):
        said = json.loads(record_json(record, 0))
        del said["offset"], said["position"]
        texts.append(event(json.dumps(said), "ephemeral"))
    return "".join(texts)
