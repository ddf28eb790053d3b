from __future__ import annotations

import json
from typing import Any

from outlast_broker.web import event_text
from outlast_protocol import Position, frames as f
from outlast_protocol.batch import encode_batch, stamp
from outlast_protocol.tile import make_tile

EPOCH = 0xC0FFEE
AT = "0000000000c0ffee"


def batch(offset: int, *datas: Any) -> bytes:
    return stamp(encode_batch("alice", [(data, None, None) for data in datas]), offset, 1_700)


def parsed(text: str) -> list[tuple[str, str, Any]]:
    """Name, id and data of every event, as a browser reads them."""
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = json.loads(fields["data"]) if "data" in fields else None
        events.append((fields.get("event", ""), fields.get("id", ""), data))
    return events


def test_each_record_is_an_event_with_its_position() -> None:
    text, last = event_text.records(batch(1, "a", {"b": "\n"}) + batch(3, b"c"), EPOCH, 0)
    assert [(name, id_, data["offset"]) for name, id_, data in parsed(text)] == [
        ("", f"{AT}:1", 1), ("", f"{AT}:2", 2), ("", f"{AT}:3", 3),
    ]  # fmt: skip
    assert last == 3


def test_what_the_reader_has_is_left_out() -> None:
    text, _ = event_text.records(batch(1, "a", "b"), EPOCH, 1)
    assert [data["offset"] for _, _, data in parsed(text)] == [2]


def test_where_nothing_is_left_the_position_moves_on() -> None:
    tile = make_tile(1, 9, 1_700, batch(3, "a"))
    text, last = event_text.records(tile, EPOCH, 0)
    assert parsed(text)[1:] == [("", f"{AT}:9", None)] and last == 9
    assert parsed(event_text.records(make_tile(1, 9, 1_700, b""), EPOCH, 0)[0]) == [("", f"{AT}:9", None)]


def test_many_readers_of_the_same_are_told_the_same_text() -> None:
    first, second = (event_text.records(batch(1, "a"), EPOCH, 0)[0] for _ in range(2))
    assert first is second
    long = batch(1, "x" * event_text.SHARED_BYTES_MAX)
    assert event_text.records(long, EPOCH, 0)[0] is not event_text.records(long, EPOCH, 0)[0]


def test_the_first_event_says_what_the_channel_is() -> None:
    row = ["k", 2, 1_700, "alice", 1, b"v"]
    frame = f.Attached(1, 4, 9, EPOCH, 1, [7], [row], "trimmed")
    [resync, (name, id_, said)] = parsed(event_text.attached(frame))
    assert resync == ("resync", f"{AT}:4", {"reason": "trimmed", "position": f"{AT}:4"})
    assert (name, id_) == ("attached", f"{AT}:4")
    assert said["through"] == f"{AT}:9" and said["messages"] == [7] and said["state"][0]["data"] == "v"
    assert len(parsed(event_text.attached(frame._replace(resync=None)))) == 1


def test_what_is_ephemeral_has_no_place() -> None:
    [(name, id_, said)] = parsed(event_text.ephemeral(batch(0, "typing")))
    assert (name, id_) == ("ephemeral", "") and said["data"] == "typing" and "offset" not in said


def test_the_small_ones() -> None:
    assert event_text.retry(500) == "retry: 500\n\n"
    assert event_text.HEARTBEAT.startswith(":") and event_text.HEARTBEAT.endswith("\n\n")
    assert event_text.event("1", "x", Position(1, 2)) == "event: x\nid: 0000000000000001:2\ndata: 1\n\n"
