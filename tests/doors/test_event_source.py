"""Streams of events as browsers have them: they are cut, they come back, and some do not read."""

from __future__ import annotations

import socket

from outlast_broker.web import events

from tests.support.broker import PATIENCE_S, Broker
from tests.support.web import WebClient, port_of


def test_a_reader_that_is_cut_off_again_and_again_misses_nothing(broker: Broker, web: WebClient, room: str) -> None:
    seen: list[int] = []
    last: dict[str, str] = {}
    for at in range(10):
        web.publish(room, *range(7))
        reader = WebClient(port_of(broker))
        stream = reader.events(f"/v1/channels/{room}/events?start=earliest", **last)
        for _ in range(5 if at < 9 else 26):
            event = stream.next()
            last = {"Last_Event_ID": event.id or ""}
            if not event.name:
                seen.append(event.data["offset"])
        reader.close()
    assert seen == list(range(1, len(seen) + 1)) and len(seen) == 9 * 4 + 25


def test_one_who_does_not_read_costs_its_credit(broker: Broker, web: WebClient, room: str) -> None:
    """And gets everything when it reads; those who read notice nothing."""
    with socket.create_connection(("127.0.0.1", port_of(broker)), PATIENCE_S) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        stalled.sendall(f"GET /v1/channels/{room}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        begun = stalled.recv(4_096)
        while b"attached" not in begun:
            begun += stalled.recv(4_096)
        for at in range(100):
            web.publish(room, f"{at}:" + "x" * 100_000)
        [stream] = broker._server._site._streams  # type: ignore[union-attr]
        assert stream._waiting_bytes <= events.CREDIT + 200_000, "what is beyond waits in the log"
        came = b""
        while b"99:xxx" not in came[-300_000:]:
            data = stalled.recv(1 << 20)
            assert data, "the stream ended"
            came += data
        assert [came.count(b'"data": "%d:xxx' % at) for at in range(100)] == [1] * 100
