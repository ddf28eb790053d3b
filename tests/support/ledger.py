"""Holds a channel to what was promised about it: everything acknowledged, everything shown, nothing twice, no holes."""

from __future__ import annotations

from typing import NamedTuple

from outlast_protocol import Record
from outlast_protocol.batch import read_records
from outlast_protocol.frames import Deliver, Resync
from outlast_protocol.limits import CREDIT_BYTES_MAX

from .broker import RawClient
from .load import Keeper, Lane, Watcher, Writer


class Stored(NamedTuple):
    """A channel as a broker serves it. An empty one has first = last + 1."""

    epoch: int
    first: int
    last: int
    records: dict[int, Record]


def read_channel(client: RawClient, channel: str) -> Stored:
    """All of it, by a subscription from the earliest record to the last one that SUBSCRIBED stated."""
    number = client.open(channel, create=False).number
    answer = client.subscribe(number, CREDIT_BYTES_MAX)
    first, next_offset = answer.first, answer.after + 1
    records: dict[int, Record] = {}
    while next_offset <= answer.last:
        frame = client.receive()
        if isinstance(frame, Resync):
            first = next_offset = frame.after + 1
            continue
        assert isinstance(frame, Deliver), frame
        for record in read_records(frame.batches):
            if record.offset >= first:
                assert record.offset == next_offset, f"offset {record.offset} where {next_offset} belongs"
                records[next_offset] = record
                next_offset += 1
    kept = {offset: record for offset, record in records.items() if offset >= first}
    return Stored(answer.epoch, first, max(answer.last, next_offset - 1), kept)


def check_writers(stored: Stored, channel: str, writers: list[Writer]) -> None:
    lanes = {writer.name: writer.lanes[channel] for writer in writers if channel in writer.lanes}
    for name, lane in lanes.items():
        _check_acknowledged(stored, name, lane)
    _check_once_in_order(stored, lanes)


def _check_acknowledged(stored: Stored, name: str, lane: Lane) -> None:
    """Each acknowledged record lies where the acknowledgement said, unless it was trimmed."""
    for sequence, offset in lane.acked.items():
        assert offset > 0, f"{name}: sequence {sequence} was acknowledged without its offset"
        for place, data in enumerate(lane.sent[sequence - 1], start=offset):
            assert place <= stored.last, (
                f"{name}: {sequence} was acknowledged at {place}, the log ends at {stored.last}"
            )
            if place >= stored.first:
                assert stored.records[place].data == data, f"{name}: another record than {sequence} lies at {place}"


def _check_once_in_order(stored: Stored, lanes: dict[str, Lane]) -> None:
    """Every stored record was sent, whole batches lie together, and each writer's follow each other without a gap."""
    place: dict[str, tuple[int, int]] = {}
    before = ("", 0, 0)
    for offset in range(stored.first, stored.last + 1):
        data = stored.records[offset].data
        name, _, sequence_text, index_text = data.decode("latin-1").split("/", 4)[:4]
        sequence, index = int(sequence_text), int(index_text)
        batch = lanes[name].sent[sequence - 1]
        assert batch[index] == data, f"offset {offset} holds what nobody sent"
        if name in place:
            assert (sequence, index) == place[name], f"offset {offset}: {name} {sequence}/{index}, not {place[name]}"
        if index and offset > stored.first:
            assert before == (name, sequence, index - 1), f"offset {offset}: the batch of {name} {sequence} is torn"
        before = (name, sequence, index)
        place[name] = (sequence, index + 1) if index + 1 < len(batch) else (sequence + 1, 0)
    assert not before[0] or before[2] + 1 == len(lanes[before[0]].sent[before[1] - 1]), "the last batch is torn"


def check_watcher(stored: Stored, watcher: Watcher) -> None:
    """What was shown is still there and still the same."""
    assert watcher.epoch in (None, stored.epoch), f"{watcher.name} read another life of the channel"
    assert watcher.last <= stored.last, f"{watcher.name} saw {watcher.last}, the log ends at {stored.last}"
    for offset, data in watcher.seen.items():
        if offset >= stored.first:
            assert stored.records[offset].data == data, f"{watcher.name} saw another record at {offset}"


def check_keeper(stored: Stored, keeper: Keeper) -> None:
    """A cut that was acknowledged holds, and nobody cut further than was asked."""
    assert keeper.first <= stored.first, f"cut to {keeper.first}, yet {stored.first} is there again"
    assert stored.first <= keeper.asked, f"asked to keep {keeper.asked} on, but only {stored.first} on is there"
