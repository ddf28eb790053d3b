"""One valid frame of every type, as small as its meaning allows."""

from __future__ import annotations

from outlast_protocol import Frame, batch
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Ack,
    Await,
    Configure,
    Credit,
    Cursors,
    Delete,
    Deliver,
    Error,
    Forget,
    GoAway,
    Hello,
    History,
    Info,
    List,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Publish,
    Published,
    Reply,
    Resync,
    Subscribe,
    Subscribed,
    Truncate,
    Unsubscribe,
    Welcome,
)

CLIENT_ID = "agent"
EPOCH = 0x00C0FFEE00C0FFEE
BATCH = batch.encode_batch(CLIENT_ID, [("hello", None, None)])
STAMPED = batch.stamp(BATCH, 1, 1_700_000_000_000)

HELLO = Hello([1], client_id=CLIENT_ID)
WELCOME = Welcome(1, CLIENT_ID, 15_000, 1_700_000_000_000, [], {"frame_bytes": 1_048_576}, "outlast/0.1")
GOAWAY = GoAway("shutdown", 1_000)

SAMPLES: tuple[Frame, ...] = (
    HELLO,
    WELCOME,
    Ping(1),
    Pong(1),
    GOAWAY,
    Error(2, 25, "open it first"),
    Open(1, "session:42"),
    Opened(1, 9, EPOCH, 1, 0),
    Publish(2, 9, 1, UNCONDITIONAL, BATCH),
    Published([(2, 1, False)]),
    Subscribe(3, 9, 65_536, after=0, epoch=EPOCH),
    Subscribed(3, 0, EPOCH, 1, 1),
    Unsubscribe(4, 9),
    Credit(9, 65_536),
    Deliver(9, STAMPED),
    Resync(9, "trimmed", 50, EPOCH),
    History(5, 9, start="earliest"),
    Page(5, 1, 1, 1, 1, STAMPED),
    Info(6, "session:42"),
    List(7),
    Delete(8, "session:42"),
    Truncate(9, "session:42", 2),
    Configure(10, "session:42", {"records": 100}),
    Reply(6, {"first": 1}),
    Ack(11, 9, "phone", 1),
    Await(12, 9, "phone", 1, 30_000),
    Cursors(13, "session:42"),
    Forget(14, "session:42", "phone"),
)
