"""What clients did and what they were told, and the judge of both (in the manner of Jepsen).

An operation is invoked and then ends as `ok`, `fail` (the broker said that it did not happen) or stays `info`:
nobody knows. The judge is given all operations, all that readers saw, and the channel as it lies there in the end.
It asks nobody; each anomaly is a line of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

End = Literal["ok", "fail", "info"]


@dataclass
class Operation:
    """A publish of one record. `client` is a session, `index` counts its calls. Times are those of any one clock."""

    client: str
    index: int
    data: str
    invoked: float
    condition: int | None = None
    end: End = "info"
    ended: float = float("inf")
    offset: int = 0


class Seen(NamedTuple):
    """What one reader was handed, in the order of handing: (offset, data)."""

    reader: str
    records: list[tuple[int, str]]


@dataclass
class History:
    """`final` holds the data of offsets 1, 2, ... as they lie in the channel in the end."""

    operations: list[Operation] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    final: list[str] = field(default_factory=list)


def anomalies(history: History) -> list[str]:
    """Everything that must not be, each with where it is."""
    return [
        *_lost(history),
        *_twice(history),
        *_from_nowhere(history),
        *_misread(history),
        *_out_of_turn(history),
        *_against_time(history),
        *_against_condition(history),
    ]


def _at(history: History, offset: int) -> str | None:
    return history.final[offset - 1] if 1 <= offset <= len(history.final) else None


def _lost(history: History) -> Iterator[str]:
    for operation in history.operations:
        if operation.end == "ok" and operation.offset and _at(history, operation.offset) != operation.data:
            yield f"lost: {operation.data} was acknowledged at {operation.offset} and is not there"
        if operation.end == "ok" and operation.data not in history.final:
            yield f"lost: {operation.data} was acknowledged and is nowhere"


def _twice(history: History) -> Iterator[str]:
    place: dict[str, int] = {}
    for offset, data in enumerate(history.final, start=1):
        if data in place:
            yield f"twice: {data} lies at {place[data]} and at {offset}"
        place[data] = offset


def _from_nowhere(history: History) -> Iterator[str]:
    """Nobody published it, or the broker had said that it would not be stored."""
    invoked = {operation.data: operation for operation in history.operations}
    for offset, data in enumerate(history.final, start=1):
        if data not in invoked:
            yield f"from nowhere: {data} at {offset}"
        elif invoked[data].end == "fail":
            yield f"from nowhere: {data} at {offset} was refused"


def _misread(history: History) -> Iterator[str]:
    """A reader sees 1, 2, 3, ... and each as it lies there."""
    for reader, records in history.seen:
        for expected, (offset, data) in enumerate(records, start=1):
            if offset != expected:
                yield f"hole: {reader} was handed {offset} where {expected} belongs"
                break
            if _at(history, offset) != data:
                yield f"misread: {reader} was handed {data} at {offset}, there lies {_at(history, offset)}"


def _out_of_turn(history: History) -> Iterator[str]:
    """What one client published lies in the order of its calls."""
    indexes = {operation.data: (operation.client, operation.index) for operation in history.operations}
    last: dict[str, int] = {}
    for offset, data in enumerate(history.final, start=1):
        client, index = indexes.get(data, ("", 0))
        if client and index < last.get(client, 0):
            yield f"out of turn: {client} published {index} before {last[client]}, and {index} lies behind, at {offset}"
        last[client] = index


def _against_time(history: History) -> Iterator[str]:
    """What was acknowledged before another call began lies before it (real-time order)."""
    place = {data: offset for offset, data in enumerate(history.final, start=1)}
    stored = [operation for operation in history.operations if operation.data in place]
    ended = sorted((operation.ended, place[operation.data]) for operation in stored if operation.end == "ok")
    before, highest = 0, 0
    for operation in sorted(stored, key=lambda operation: operation.invoked):
        while before < len(ended) and ended[before][0] < operation.invoked:
            highest = max(highest, ended[before][1])
            before += 1
        if place[operation.data] < highest:
            yield f"against time: {operation.data} lies at {place[operation.data]}, {highest} was there before its call"


def _against_condition(history: History) -> Iterator[str]:
    place = {data: offset for offset, data in enumerate(history.final, start=1)}
    for operation in history.operations:
        offset = place.get(operation.data)
        if operation.condition is not None and offset is not None and offset != operation.condition + 1:
            yield f"against condition: {operation.data} lies at {offset}, its condition was {operation.condition}"


def check(history: History) -> None:
    """Raises AssertionError with every anomaly, the first twenty of them in words."""
    found = anomalies(history)
    assert not found, "\n".join([f"{len(found)} anomalies in {len(history.final)} records:", *found[:20]])
