from __future__ import annotations

from typing import Any

import pytest
from outlast_broker.web import events
from outlast_protocol.batch import encode_batch, encode_labelled
from outlast_protocol.frames import UNCONDITIONAL, Delete, Ephemeral, Publish, Truncate
from outlast_protocol.operations import MessageState, Op, Operation

from tests.support.broker import Broker, running_broker
from tests.support.web import LISTEN, Event, Events, WebClient, port_of


class Readers:
    """Streams, each over a connection of its own."""

    def __init__(self, broker: Broker) -> None:
        self._port = port_of(broker)
        self._clients: list[WebClient] = []

    def read(self, path: str, **headers: str) -> Events:
        self._clients.append(WebClient(self._port))
        return self._clients[-1].events(path, **headers)

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def readers(broker: Broker) -> Any:
    readers = Readers(broker)
    yield readers
    readers.close()


def attached(stream: Events) -> Event:
    event = stream.next()
    assert event.name == "attached", event
    return event


def test_history_then_live_without_a_seam(web: WebClient, readers: Readers, room: str, path: str) -> None:
    web.publish(room, "a", "b")
    stream = readers.read(f"{path}/events?start=earliest")
    first = attached(stream)
    assert first.data["through"].endswith(":2") and first.data["messages"] == [] and first.data["state"] == []
    said = web.publish(room, "c")
    came = [stream.next() for _ in range(3)]
    assert [(event.name, event.data["data"]) for event in came] == [("", "a"), ("", "b"), ("", "c")]
    assert came[2].id == said["position"] == came[2].data["position"]


def test_a_reader_that_comes_back_gets_the_rest(web: WebClient, readers: Readers, room: str, path: str) -> None:
    """In the middle of a batch, too."""
    epoch = web.publish(room, *range(1, 6))["position"].split(":")[0]
    stream = readers.read(f"{path}/events?start=earliest", Last_Event_ID=f"{epoch}:3")
    assert attached(stream).id == f"{epoch}:3"
    assert [stream.next().data["offset"] for _ in range(2)] == [4, 5]


@pytest.mark.parametrize(("query", "first"), [("?after=3", 4), ("?last=2", 4), ("?since_ms=0", 1), ("", 6)])
def test_where_to_start(web: WebClient, readers: Readers, room: str, path: str, query: str, first: int) -> None:
    web.publish(room, *range(1, 6))
    stream = readers.read(f"{path}/events{query}")
    attached(stream)
    web.publish(room, 6)
    assert stream.next().data["offset"] == first


def test_a_start_by_cursor(web: WebClient, readers: Readers, room: str, path: str) -> None:
    web.publish(room, 1, 2, 3)
    web.ask("PUT", f"{path}/cursors/phone", {"offset": 2})
    stream = readers.read(f"{path}/events?cursor=phone")
    attached(stream)
    assert stream.next().data["offset"] == 3


def test_what_cannot_be_resumed_is_said(web: WebClient, readers: Readers, room: str, path: str) -> None:
    epoch = web.publish(room, 1, 2)["position"].split(":")[0]
    stream = readers.read(f"{path}/events", Last_Event_ID="0000000000000001:9")
    resync = stream.next()
    assert (resync.name, resync.data["reason"], resync.id) == ("resync", "recreated", f"{epoch}:0")
    attached(stream)
    assert stream.next().data["offset"] == 1


def test_retention_that_was_faster_is_said(
    broker: Broker, web: WebClient, readers: Readers, room: str, path: str
) -> None:
    for at in range(4):
        epoch = web.publish(room, at)["position"].split(":")[0]
    alice = broker.client()
    alice.result(Truncate(alice.request(), room, 4))
    stream = readers.read(f"{path}/events?after=1")
    assert stream.next() == Event("resync", f"{epoch}:3", {"reason": "trimmed", "position": f"{epoch}:3"})


def test_a_channel_that_ends_ends_its_streams(
    broker: Broker, web: WebClient, readers: Readers, room: str, path: str
) -> None:
    web.publish(room, 1)
    stream = readers.read(f"{path}/events?start=earliest")
    attached(stream)
    last = stream.next().id or ""
    alice = broker.client()
    alice.result(Delete(alice.request(), room))
    resync = stream.next()
    assert (resync.name, resync.data["reason"]) == ("resync", "deleted")
    with pytest.raises(EOFError):
        stream.next()
    assert web.ask("GET", f"{path}/events", Last_Event_ID=last).code == "unknown_channel", "it is not made anew"


def test_a_reader_may_come_before_the_first_record(web: WebClient, readers: Readers, room: str, path: str) -> None:
    assert web.ask("GET", f"{path}/events?create=false").status == 404
    stream = readers.read(f"{path}/events")
    attached(stream)
    web.publish(room, "first")
    assert stream.next().data["data"] == "first"


def grow(broker: Broker, room: str) -> Any:
    """What a growing message is told to do; each returns when it is stored."""
    alice = broker.client("alice")
    number = alice.open(room).number

    def say(op: Op, data: bytes = b"", **more: Any) -> None:
        operation = Operation(op, **({} if op is Op.OPEN else {"message": 1}), **more)
        batch = encode_labelled("alice", [((1, None, (), operation, 0), data)])
        alice.ask(Publish(alice.request(), number, 0, UNCONDITIONAL, 0, batch))

    return say


def test_a_message_is_folded_and_then_grows(broker: Broker, readers: Readers, room: str, path: str) -> None:
    say = grow(broker, room)
    say(Op.OPEN, b"Once ")
    say(Op.APPEND, b"upon ")
    stream = readers.read(f"{path}/events?start=earliest")
    assert attached(stream).data["messages"] == [1]
    assert (folded := stream.next().data)["data"] == "Once upon " and folded["operation"]["op"] == "folded"
    say(Op.APPEND, b"a time")
    say(Op.CLOSE, state=MessageState.COMPLETE)
    appended, closed = stream.next().data, stream.next().data
    assert appended["operation"] == {"op": "append", "message": 1} and appended["data"] == "a time"
    assert closed["operation"] == {"op": "close", "message": 1, "state": "complete"}


def test_raw_gives_operation_by_operation(broker: Broker, readers: Readers, room: str, path: str) -> None:
    say = grow(broker, room)
    say(Op.OPEN, b"Once ")
    say(Op.APPEND, b"upon")
    stream = readers.read(f"{path}/events?start=earliest&raw=true")
    attached(stream)
    assert [stream.next().data["operation"]["op"] for _ in range(2)] == ["open", "append"]


def test_what_is_ephemeral_is_told_to_those_who_are_there(
    broker: Broker, readers: Readers, room: str, path: str
) -> None:
    stream = readers.read(f"{path}/events")
    attached(stream)
    alice = broker.client("alice")
    number = alice.open(room).number
    alice.send(Ephemeral(alice.request(), number, encode_batch("alice", [("typing", "note", None)])))
    event = stream.next()
    assert (event.name, event.id, event.data["data"]) == ("ephemeral", None, "typing")


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?after=9", {}, 409), ("?after=x", {}, 400), ("?start=middle", {}, 400), ("?last=1&after=1", {}, 400),
        ("?limit=3", {}, 400), ("", {"Last_Event_ID": "x"}, 400), ("?cursor=%00", {}, 400),
    ],
)  # fmt: skip
def test_a_stream_that_cannot_begin_is_refused(
    web: WebClient, room: str, path: str, query: str, headers: dict[str, str], status: int
) -> None:
    web.publish(room, 1)
    assert web.ask("GET", f"{path}/events{query}", **headers).status == status


def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    with running_broker(listen=LISTEN) as broker:
        web = WebClient(port_of(broker))
        stream = web.events("/v1/channels/room/events")
        attached(stream)
        assert stream.response.readline() == b":\n"
        web.close()


def test_a_stream_can_be_long(web: WebClient, readers: Readers, room: str, path: str) -> None:
    """More than its credit: what was taken is given back."""
    for _ in range(8):
        web.publish(room, *["x" * 100_000] * 2)
    stream = readers.read(f"{path}/events?start=earliest")
    attached(stream)
    assert [stream.next().data["offset"] for _ in range(16)] == list(range(1, 17))


def test_one_who_leaves_reads_no_longer(web: WebClient, readers: Readers, room: str, path: str) -> None:
    attached(readers.read(f"{path}/events"))
    assert web.get(path)["subscribers"] == 1
    readers.close()
    while web.get(path)["subscribers"]:
        web.publish(room, "until it is noticed")


def test_a_broker_that_leaves_ends_its_streams() -> None:
    with running_broker(listen=LISTEN) as broker:
        web = WebClient(port_of(broker))
        stream = web.events("/v1/channels/room/events")
        attached(stream)
        broker.begin_stop()
        with pytest.raises(EOFError):
            stream.next()
        web.close()
        broker.wait()
        assert broker.error is None
