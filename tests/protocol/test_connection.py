from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given, strategies as st
from outlast_protocol import Connection, ErrorCode, Frame, Malformed, ProtocolError, Role, State, limits
from outlast_protocol.frames import (
    BY_CLASS,
    HEADER,
    MAGIC,
    PUBLISH,
    SPECS,
    Attach,
    Attached,
    Deliver,
    Ephemeral,
    Error,
    GoAway,
    Hello,
    Open,
    Opened,
    Ping,
    Pong,
    Presence,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    Welcome,
    encode,
)

from tests.support.bounds import bounded
from tests.support.samples import BATCH, CLIENT_ID, EPOCH, GOAWAY, HELLO, SAMPLES, STAMPED, WELCOME
from tests.support.strategies import frames_of
from tests.support.transcript import Pair, connection_in, peer_of

CLIENT, BROKER = Role.CLIENT, Role.BROKER
MOVING = (Hello, Welcome, GoAway)
STATES = [state for state in State if state is not State.FAILED]


def header(length: int, number: int, flags: int = 0, reserved: int = 0) -> bytes:
    return HEADER.pack(length, number, flags, reserved)


def failure(connection: Connection, data: bytes) -> ProtocolError:
    """Why `data` ends the connection; it must yield nothing."""
    assert connection.receive(data) == []
    assert connection.failure is not None and connection.state is State.FAILED
    return connection.failure


# --- transcripts ------------------------------------------------------------------------------------------

TRANSCRIPTS: dict[str, list[tuple[Role, Frame, State]]] = {
    "publish and leave": [
        (CLIENT, HELLO, State.GREETED),
        (BROKER, WELCOME, State.OPEN),
        (CLIENT, Open(1, "session:42"), State.OPEN),
        (BROKER, Opened(1, 9, EPOCH, 1, 0), State.OPEN),
        (CLIENT, Publish(2, 9, 1, 0, 0, BATCH), State.OPEN),
        (BROKER, Published([(2, 1, False)]), State.OPEN),
        (BROKER, GOAWAY, State.LEAVING),
        (CLIENT, Publish(3, 9, 2, 1, 0, BATCH), State.LEAVING),
        (BROKER, Error(3, ErrorCode.GOING_AWAY, "stopping"), State.LEAVING),
        (BROKER, GOAWAY, State.LEAVING),
    ],
    "subscribe": [
        (CLIENT, HELLO, State.GREETED),
        (BROKER, WELCOME, State.OPEN),
        (CLIENT, Subscribe(1, 9, 65_536, start="earliest"), State.OPEN),
        (BROKER, Subscribed(1, 0, EPOCH, 1, 1), State.OPEN),
        (BROKER, Deliver(9, STAMPED), State.OPEN),
        (BROKER, Ping(5), State.OPEN),
        (CLIENT, Pong(5), State.OPEN),
        (CLIENT, Ping(6), State.OPEN),
        (BROKER, Pong(6), State.OPEN),
    ],
    "attach": [
        (CLIENT, HELLO, State.GREETED),
        (BROKER, WELCOME, State.OPEN),
        (CLIENT, Attach(1, 9, 65_536, last=50), State.OPEN),
        (BROKER, Attached(1, 0, 1, EPOCH, 1, [], []), State.OPEN),
        (BROKER, Presence(9, 1, 0, [], snapshot=True), State.OPEN),
        (BROKER, Deliver(9, STAMPED), State.OPEN),
        (CLIENT, Ephemeral(0, 9, BATCH), State.OPEN),
        (BROKER, Ephemeral(0, 9, STAMPED), State.OPEN),
        (BROKER, GOAWAY, State.LEAVING),
        (BROKER, Presence(9, 0, 1), State.LEAVING),
    ],
    "refused at the door": [
        (BROKER, Error(0, ErrorCode.GOING_AWAY, "stopping"), State.CONNECTING),
        (CLIENT, HELLO, State.GREETED),
        (BROKER, Error(0, ErrorCode.UNSUPPORTED_VERSION, "versions: 1"), State.GREETED),
    ],
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_both_ends_agree_on_every_step(name: str) -> None:
    pair = Pair()
    for speaker, frame, state in TRANSCRIPTS[name]:
        assert pair.say(speaker, frame) == [frame]
        assert pair.states == {state}


# --- who may say what when (PROTOCOL.md 3.3) --------------------------------------------------------------


def allowed(state: State, sender: Role, frame: Frame) -> bool:
    """The table of section 3.3, written down a second time."""
    cls = type(frame)
    first = {State.CONNECTING: (Hello,) if sender is CLIENT else (Error,), State.CLOSED: ()}
    if state is State.GREETED:
        return sender is BROKER and cls in (Welcome, Error)
    if state in first:
        return cls in first[state]
    return cls not in (Hello, Welcome) and bool(BY_CLASS[cls].sender & sender)


@pytest.mark.parametrize("frame", SAMPLES, ids=lambda frame: type(frame).__name__)
@pytest.mark.parametrize("sender", [CLIENT, BROKER], ids=["client", "broker"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.value)
def test_what_may_be_sent_and_received_in_a_state(state: State, sender: Role, frame: Frame) -> None:
    ours, theirs = connection_in(state, sender), connection_in(state, peer_of(sender))
    if allowed(state, sender, frame):
        assert theirs.receive(ours.send(frame)) == [frame]
        assert ours.state is theirs.state
        assert (ours.state is state) == (type(frame) not in MOVING or state is State.LEAVING)
        return
    with pytest.raises(ProtocolError) as caught:
        ours.send(frame)
    assert caught.value.code is ErrorCode.UNEXPECTED_FRAME and ours.state is state
    if state is not State.CLOSED:
        assert failure(theirs, encode(frame)).code is ErrorCode.UNEXPECTED_FRAME


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.cls.__name__)
def test_a_frame_out_of_place_is_refused_by_its_header(spec: object) -> None:
    frame = next(sample for sample in SAMPLES if BY_CLASS[type(sample)] is spec)
    sender = CLIENT if BY_CLASS[type(frame)].sender & CLIENT else BROKER
    connection = connection_in(State.OPEN, sender)
    if BY_CLASS[type(frame)].sender == sender:
        assert failure(connection, encode(frame)[:8]).code is ErrorCode.UNEXPECTED_FRAME
    else:
        assert connection.receive(encode(frame)[:8]) == [] and connection.failure is None


def test_a_frame_that_cannot_be_encoded_changes_nothing() -> None:
    client = Connection(CLIENT)
    with pytest.raises(ProtocolError):
        client.send(Hello([1], agent="x" * limits.HELLO_BYTES_MAX))
    assert client.state is State.CONNECTING


def test_a_malformed_request_does_not_end_the_connection() -> None:
    broker = connection_in(State.OPEN, BROKER)
    [first, second] = broker.receive(header(13, 0x10) + b"\7\0\0\0\x80" + encode(Ping(1)))
    assert isinstance(first, Malformed) and first.request == 7
    assert second == Ping(1) and broker.state is State.OPEN


def test_a_malformed_goaway_does_not_start_leaving() -> None:
    client = connection_in(State.OPEN, CLIENT)
    [malformed] = client.receive(header(9, 0x05) + b"\x80")
    assert isinstance(malformed, Malformed) and client.state is State.OPEN


def test_a_welcome_that_says_nothing_ends_the_connection() -> None:
    client = connection_in(State.GREETED, CLIENT)
    assert failure(client, header(9, 0x02) + b"\x80").code is ErrorCode.BAD_BODY


# --- chunks -----------------------------------------------------------------------------------------------


def receiver_of(frame: Frame) -> Connection:
    if isinstance(frame, Hello):
        return connection_in(State.CONNECTING, BROKER)
    if isinstance(frame, Welcome):
        return connection_in(State.GREETED, CLIENT)
    return connection_in(State.OPEN, BROKER if BY_CLASS[type(frame)].sender & CLIENT else CLIENT)


@pytest.mark.parametrize("frame", SAMPLES, ids=lambda frame: type(frame).__name__)
def test_a_frame_arrives_however_it_is_cut(frame: Frame) -> None:
    data = encode(frame)
    assert receiver_of(frame).receive(data) == [frame]
    slow = receiver_of(frame)
    assert [got for byte in data for got in slow.receive(bytes([byte]))] == [frame]
    for cut in range(len(data) + 1):
        connection = receiver_of(frame)
        assert connection.receive(data[:cut]) + connection.receive(data[cut:]) == [frame]
        assert connection.failure is None


FROM_BROKER = [s.cls for s in SPECS if s.sender & BROKER and s.cls not in (Welcome, GoAway)]


@bounded(60)
@given(st.lists(st.sampled_from(FROM_BROKER).flatmap(frames_of), max_size=6), st.data())
def test_any_run_of_frames_arrives_however_it_is_cut(run: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, run))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    client = connection_in(State.OPEN, CLIENT)
    got: list[Frame | Malformed] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += client.receive(stream[start:end])
    assert got == run and client.failure is None


def test_nothing_comes_of_nothing() -> None:
    broker = Connection(BROKER)
    assert broker.receive(b"") == [] and broker.failure is None


# --- failure ----------------------------------------------------------------------------------------------

BAD_FRAME = header(16, 0x03, flags=1) + bytes(8)


@pytest.mark.parametrize("step", [1, 3, 8, 1_000])
def test_the_frames_before_a_failure_are_kept_and_nothing_after_it_is_read(step: int) -> None:
    broker = connection_in(State.OPEN, BROKER)
    stream = encode(Ping(1)) + encode(Ping(2)) + BAD_FRAME + encode(Ping(3))
    got = [frame for at in range(0, len(stream), step) for frame in broker.receive(stream[at : at + step])]
    assert got == [Ping(1), Ping(2)]
    assert broker.failure is not None and broker.failure.code is ErrorCode.BAD_FRAME
    assert broker.receive(encode(Ping(4))) == [] and broker.state is State.FAILED


def test_a_body_that_ends_the_connection_keeps_the_frames_before_it() -> None:
    client = connection_in(State.OPEN, CLIENT)
    half_an_acknowledgement = header(8 + 24, 0x13) + bytes(24)
    assert client.receive(encode(Ping(1)) + half_an_acknowledgement + encode(Ping(2))) == [Ping(1)]
    assert client.failure is not None and client.failure.code is ErrorCode.BAD_FRAME


def test_nothing_can_be_sent_after_a_failure_or_a_close() -> None:
    for state in (State.FAILED, State.CLOSED):
        broker = connection_in(State.OPEN, BROKER)
        broker.receive(BAD_FRAME) if state is State.FAILED else broker.close()
        with pytest.raises(ProtocolError) as caught:
            broker.send(Ping(1))
        assert caught.value.code is ErrorCode.UNEXPECTED_FRAME and broker.state is state


def test_nothing_is_read_after_a_close_not_even_the_rest_of_a_frame() -> None:
    broker = connection_in(State.OPEN, BROKER)
    broker.receive(encode(Ping(1))[:10])
    broker.close()
    assert broker.receive(encode(Ping(1))[10:] + encode(Ping(2))) == []
    assert broker.failure is None and broker.state is State.CLOSED


@pytest.mark.parametrize(
    ("first_bytes", "code"),
    [
        (b"GET / HTTP/1.1\r\n", ErrorCode.BAD_MAGIC),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ErrorCode.BAD_MAGIC),
        (b"SSH-2.0-OpenSSH", ErrorCode.BAD_MAGIC),
        (b"*1\r\n$4\r\nPING\r\n", ErrorCode.BAD_MAGIC),
        (bytes(8), ErrorCode.BAD_MAGIC),
        (header(20, 0x01) + b"HTTP" + bytes(8), ErrorCode.BAD_MAGIC),
        (header(16, 0x03) + bytes(8), ErrorCode.UNEXPECTED_FRAME),
        (header(11, 0x01), ErrorCode.BAD_FRAME),
        (header(20, 0x01, flags=1), ErrorCode.BAD_FRAME),
        (header(limits.HELLO_BYTES_MAX + 1, 0x01), ErrorCode.FRAME_TOO_LARGE),
        (header(12, 0x01) + MAGIC, ErrorCode.BAD_BODY),
    ],
    ids=lambda each: each.name if isinstance(each, ErrorCode) else each[:8].hex(),
)
def test_what_is_no_hello(first_bytes: bytes, code: ErrorCode) -> None:
    assert failure(Connection(BROKER), first_bytes).code is code


@pytest.mark.parametrize("spec", SPECS[2:], ids=lambda spec: spec.cls.__name__)
def test_lengths_are_judged_by_the_header_alone(spec: object) -> None:
    frame = next(sample for sample in SAMPLES if BY_CLASS[type(sample)] is spec)
    number, longest = BY_CLASS[type(frame)].number, BY_CLASS[type(frame)].bytes_max
    too_long = failure(receiver_of(frame), header(longest + 1, number))
    assert (too_long.code, too_long.detail) == (ErrorCode.FRAME_TOO_LARGE, {"limit": longest})
    for length in (0, 7):
        assert failure(receiver_of(frame), header(length, number)).code is ErrorCode.BAD_FRAME


@pytest.mark.parametrize(("flags", "reserved"), [(1, 0), (0x80, 0), (0, 1), (0, 0x8000)])
def test_reserved_bits_are_refused(flags: int, reserved: int) -> None:
    broker = connection_in(State.OPEN, BROKER)
    assert failure(broker, header(16, 0x03, flags, reserved)).code is ErrorCode.BAD_FRAME


@pytest.mark.parametrize("number", [0x00, 0x08, 0x1D, 0x2A, 0x34, 0x46, 0x54, 0x5D, 0xFF])
def test_unknown_frames_are_named(number: int) -> None:
    error = failure(connection_in(State.OPEN, BROKER), header(16, number))
    assert error.code is ErrorCode.UNKNOWN_FRAME and error.detail == {"type": number}


# --- memory -----------------------------------------------------------------------------------------------


def test_four_gigabytes_are_refused_before_memory_is_set_aside() -> None:
    broker = connection_in(State.OPEN, BROKER)
    tracemalloc.start()
    try:
        error = failure(broker, header(2**32 - 1, PUBLISH))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.code is ErrorCode.FRAME_TOO_LARGE and peak_bytes < 10_000


def test_a_long_frame_sets_nothing_aside_before_its_bytes_come() -> None:
    broker = connection_in(State.OPEN, BROKER)
    tracemalloc.start()
    try:
        assert broker.receive(header(limits.FRAME_BYTES_MAX, PUBLISH)) == []
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert broker.failure is None and peak_bytes < 10_000


def test_a_frame_in_tiny_pieces_takes_no_more_room_than_its_bytes() -> None:
    """A peer chooses the pieces: each must not cost an object of its own."""
    broker = connection_in(State.OPEN, BROKER)
    frame_bytes = limits.FRAME_BYTES_MAX // 4
    stream = header(frame_bytes, PUBLISH) + bytes(frame_bytes - 8)
    tracemalloc.start()
    try:
        for at in range(0, len(stream) - 2, 2):
            broker.receive(stream[at : at + 2])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * frame_bytes
    [publish] = broker.receive(stream[-2:])
    assert isinstance(publish, Publish) and len(publish.batch) == frame_bytes - 44


def test_nothing_is_kept_after_a_failure() -> None:
    broker = connection_in(State.OPEN, BROKER)
    broker.receive(BAD_FRAME)
    tracemalloc.start()
    try:
        for _ in range(100):
            broker.receive(bytes(10_000))
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept_bytes < 10_000


def test_a_received_piece_is_not_kept_alive_by_its_frames() -> None:
    client = connection_in(State.OPEN, CLIENT)
    piece = encode(Deliver(9, STAMPED)) + encode(Ping(1))
    before = sys.getrefcount(piece)
    frames = client.receive(piece)
    assert len(frames) == 2 and sys.getrefcount(piece) == before


def test_the_client_id_of_the_samples_is_the_one_in_their_batches() -> None:
    assert isinstance(HELLO, Hello) and HELLO.client_id == WELCOME.client_id == CLIENT_ID


def test_it_knows_whether_a_frame_has_begun() -> None:
    connection = Connection(Role.BROKER)
    data = encode(Hello([1]))
    for piece in (data[:3], data[3:-1]):
        connection.receive(piece)
        assert connection.within_frame
    connection.receive(data[-1:])
    assert not connection.within_frame
