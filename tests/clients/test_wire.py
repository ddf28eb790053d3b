"""One socket: what goes out together, heartbeats, and the ways it ends."""

from __future__ import annotations

import asyncio

import pytest
from outlast import wire as wire_module
from outlast.errors import Closed, ConnectFailed, ConnectionLost, OutlastError, Violation
from outlast.wire import Wire
from outlast_protocol import Frame, Malformed
from outlast_protocol.frames import Deliver, Hello, Open, Ping, Pong, Welcome, encode

from .fake_broker import FakeBroker, Line, scenario, stored, welcome


class Owner:
    """Opens the wire at WELCOME, answers PING, keeps everything."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame | Malformed] = asyncio.Queue()
        self.ended: list[Wire] = []

    def received(self, wire: Wire, frame: Frame | Malformed) -> None:
        if isinstance(frame, Welcome):
            wire.open(frame.heartbeat_ms)
        if isinstance(frame, Ping):
            wire.send(Pong(frame.token))
        self.frames.put_nowait(frame)

    def wire_ended(self, wire: Wire) -> None:
        self.ended.append(wire)


async def dial(broker: FakeBroker) -> tuple[Wire, Owner]:
    owner = Owner()
    wire = Wire(owner, Hello([1], "agent"))
    await asyncio.get_running_loop().create_unix_connection(lambda: wire, broker.path)
    return wire, owner


async def opened(broker: FakeBroker) -> tuple[Wire, Owner, Line]:
    """A wire on which WELCOME has come."""
    wire, owner = await dial(broker)
    line = await broker.greeted()
    assert isinstance(await owner.frames.get(), Welcome)
    return wire, owner, line


def cause(wire: Wire) -> OutlastError:
    assert wire.failure is not None
    return wire.failure


@scenario
async def test_frames_arrive_however_they_are_cut(broker: FakeBroker) -> None:
    wire, owner = await dial(broker)
    line = await broker.greeted()
    deliver = Deliver(9, stored(1, "x" * 400_000))
    data = encode(deliver) + encode(deliver)
    for piece in (data[:1], data[1:9], data[9:500_000], data[500_000:]):
        line.write(piece)
        await asyncio.sleep(0)
    assert isinstance(await owner.frames.get(), Welcome)
    assert [await owner.frames.get(), await owner.frames.get()] == [deliver, deliver]
    wire.close()
    await wire.gone(5)


@scenario
async def test_what_is_sent_in_one_turn_is_one_write(broker: FakeBroker) -> None:
    wire, _, line = await opened(broker)
    before = line.reads
    for n in range(1, 51):
        wire.send(Open(n, "c"))
    for n in range(1, 51):
        await line.expect(Open, request=n)
    assert line.reads == before + 1
    wire.close()
    await wire.gone(5)


@scenario
async def test_silence_is_broken_by_pings(broker: FakeBroker) -> None:
    wire, owner = await dial(broker)
    line = await broker.greeted(welcome(heartbeat_ms=40))
    for _ in range(3):
        ping = await line.expect(Ping)
        line.say(Pong(ping.token))
    assert wire.failure is None
    wire.close()
    await wire.gone(5)


@scenario
async def test_a_silent_broker_is_given_up(broker: FakeBroker) -> None:
    wire, _ = await dial(broker)
    line = await broker.greeted(welcome(heartbeat_ms=40))
    since_s = asyncio.get_running_loop().time()
    await line.ended.wait()
    assert asyncio.get_running_loop().time() - since_s >= 0.09
    await wire.ended.wait()
    assert isinstance(cause(wire), ConnectionLost) and "nothing came" in cause(wire).message


@scenario
async def test_a_broker_that_does_not_greet_is_given_up(broker: FakeBroker) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_module, "GREETING_TIMEOUT_MS", 20)
        wire, owner = await dial(broker)
        await wire.ended.wait()
    assert "did not answer HELLO within 20 ms" in cause(wire).message
    assert owner.ended == [wire]
    assert wire.lived_ms == 0


@scenario
async def test_bytes_that_are_no_frame_end_it(broker: FakeBroker) -> None:
    wire, owner = await dial(broker)
    line = await broker.greeted()
    line.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await wire.ended.wait()
    assert isinstance(cause(wire), Violation)
    assert owner.frames.qsize() == 1


@scenario
async def test_a_peer_that_speaks_something_else(broker: FakeBroker) -> None:
    wire, _ = await dial(broker)
    (await broker.accepted()).write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await wire.ended.wait()
    assert isinstance(cause(wire), ConnectFailed) and "no Outlast broker" in cause(wire).message


@scenario
async def test_nothing_is_looked_at_after_a_failure(broker: FakeBroker) -> None:
    wire, owner, line = await opened(broker)
    wire.fail(Violation("first"))
    wire.fail(Violation("second"))
    wire.send(Open(1, "c"))
    line.say(Ping(1))
    await wire.ended.wait()
    assert cause(wire).message == "first"
    assert owner.frames.empty()
    await line.ended.wait()


@scenario
async def test_failing_before_the_socket_is_there(broker: FakeBroker) -> None:
    owner = Owner()
    wire = Wire(owner, Hello([1]))
    assert wire.is_gone
    wire.fail(Violation("too early"))
    await wire.gone(5)
    await asyncio.get_running_loop().create_unix_connection(lambda: wire, broker.path)
    await wire.ended.wait()
    assert cause(wire).message == "too early"


@scenario
async def test_the_broker_closes(broker: FakeBroker) -> None:
    wire, owner = await dial(broker)
    line = await broker.greeted()
    line.close()
    await wire.ended.wait()
    assert isinstance(cause(wire), ConnectionLost) and "the broker closed it" in cause(wire).message
    assert owner.ended == [wire]


@scenario
async def test_closing_sends_what_was_sent_before(broker: FakeBroker) -> None:
    wire, _, line = await opened(broker)
    wire.send(Open(1, "c"))
    wire.close()
    await line.expect(Open)
    await wire.gone(5)
    assert isinstance(cause(wire), Closed) and wire.is_gone


@scenario
async def test_closing_does_not_wait_for_a_broker_that_reads_nothing(broker: FakeBroker) -> None:
    wire, _, line = await opened(broker)
    line.stop_reading()
    for n in range(1, 41):
        wire.send(Open(n, "c" * 60_000))
    wire.close()
    await wire.gone(0.01)
    assert wire.is_gone
