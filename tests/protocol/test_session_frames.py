from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, strategies as st
from outlast_protocol import ErrorCode, Frame, Malformed, ProtocolError, batch, limits, session_frames
from outlast_protocol.frames import (
    BY_CLASS,
    BY_NUMBER,
    BYTES_MIN,
    HEADER,
    Abandon,
    Attach,
    Attached,
    Claim,
    Claims,
    Enter,
    Ephemeral,
    Extend,
    Lease,
    Leases,
    Leave,
    Members,
    Message,
    Presence,
    Release,
    Renew,
    Role,
    Settle,
    State,
    Subscribe,
    Unwatch,
    Watch,
    encode,
)

from tests.support.bounds import bounded
from tests.support.samples import BATCH, SAMPLES
from tests.support.strategies import frames_of

CLASSES = [cls for cls in vars(session_frames).values() if isinstance(cls, type) and hasattr(cls, "_fields")]
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


def decode(data: bytes) -> Any:
    return BY_NUMBER[data[4]].decode(data, 0, len(data))


def map_frame(cls: type[Any], body: object, request: int = 7) -> bytes:
    head = request.to_bytes(4, "little") if "request" in cls._fields else b""
    packed = msgpack.packb(body)
    return HEADER.pack(8 + len(head) + len(packed), BY_CLASS[cls].number, 0, 0) + head + packed


# --- every frame ------------------------------------------------------------------------------------------


def test_every_frame_of_sessions_is_in_the_table_and_has_a_sample() -> None:
    assert len(CLASSES) == 20
    assert set(CLASSES) <= set(BY_CLASS) and set(CLASSES) <= {type(frame) for frame in SAMPLES}


@bounded(200)
@given(st.sampled_from(CLASSES).flatmap(frames_of))
def test_frames_of_sessions_come_back(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


def test_the_broker_sends_three_of_them_and_clients_the_rest() -> None:
    brokers = {cls for cls in CLASSES if BY_CLASS[cls].sender & Role.BROKER}
    assert brokers == {Attached, Presence, Ephemeral}
    assert {cls for cls in CLASSES if BY_CLASS[cls].sender & Role.CLIENT} == set(CLASSES) - {Attached, Presence}


def test_attach_starts_as_subscribe_does() -> None:
    fields = Subscribe._fields
    assert Attach._fields[: len(fields)] == fields
    assert {name: Attach._field_defaults[name] for name in Subscribe._field_defaults} == Subscribe._field_defaults


DEFAULTS: list[tuple[Frame, dict[str, object]]] = [
    (Attach(7, 9, 1, last=5, presence=True), {"number": 9, "credit": 1, "last": 5}),
    (Attach(7, 9, 1, start="latest", raw=True, presence=False),
     {"number": 9, "credit": 1, "start": "latest", "raw": True, "presence": False}),
    (Enter(7, 9, 77, 0, b"", 10_000), {"number": 9, "member": 77}),
    (Members(7, "c", None, None, 100), {"channel": "c"}),
    (Watch(7, 9, True), {"number": 9}),
    (Watch(7, 9, False), {"number": 9, "rows": False}),
    (Presence(9, 1, 0, [], False, False), {"number": 9, "present": 1, "away": 0}),
    (Lease(7, 9, "writer", 1_000, False), {"number": 9, "lease": "writer", "ttl_ms": 1_000}),
    (Settle(7, 9, "k", 1, 0, b""), {"number": 9, "key": "k", "token": 1}),
    (Claims(7, "c", None, 100), {"channel": "c"}),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "body"), DEFAULTS)
def test_what_is_at_its_default_is_not_written(frame: Frame, body: dict[str, object]) -> None:
    head = 12 if "request" in frame._fields else 8
    assert msgpack.unpackb(encode(frame)[head:]) == body
    assert decode(map_frame(type(frame), body)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        Attach(U32_MAX, U64_MAX, U64_MAX, after=U64_MAX, epoch=U64_MAX),
        Attached(U32_MAX, U64_MAX, U64_MAX, U64_MAX, U64_MAX, [U64_MAX], []),
        Message(U32_MAX, U64_MAX, U64_MAX),
        State(U32_MAX, ""),
        Enter(U32_MAX, U64_MAX, U64_MAX, U64_MAX, b"", U64_MAX),
        Leave(U32_MAX, U64_MAX, U64_MAX),
        Members(U32_MAX, "c", "", U64_MAX, U64_MAX),
        Watch(U32_MAX, U64_MAX),
        Unwatch(U32_MAX, U64_MAX),
        Presence(U64_MAX, U64_MAX, U64_MAX),
        Renew(U32_MAX, U64_MAX, U64_MAX),
        Release(U32_MAX, U64_MAX, U64_MAX),
        Leases(U32_MAX, "c"),
        Claim(U32_MAX, U64_MAX, "k" * 255, U64_MAX),
        Extend(U32_MAX, U64_MAX, "k", U64_MAX),
        Abandon(U32_MAX, U64_MAX, "k", U64_MAX),
        Ephemeral(U32_MAX, U64_MAX, BATCH),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_the_largest_numbers_travel(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


WRONG: list[tuple[type[Any], str, dict[str, object]]] = [
    (Attach, "raw", {"number": 9, "credit": 1, "raw": 1}),
    (Attach, "presence", {"number": 9, "credit": 1, "presence": None}),
    (Attach, "after", {"number": 9, "credit": 1, "after": "0"}),
    (Message, "message", {"number": 9, "message": True}),
    (State, "channel", {"channel": 9}),
    (Enter, "member", {"number": 9, "member": -1}),
    (Enter, "data", {"number": 9, "member": 1, "data": "text"}),
    (Enter, "data", {"number": 9, "member": 1, "data": None}),
    (Enter, "grace_ms", {"number": 9, "member": 1, "grace_ms": 1.5}),
    (Members, "after_client", {"channel": "c", "after_client": b"a"}),
    (Members, "limit", {"channel": "c", "limit": None}),
    (Watch, "rows", {"number": 9, "rows": 0}),
    (Presence, "members", {"number": 9, "present": 1, "away": 0, "members": {}}),
    (Presence, "more", {"number": 9, "present": 1, "away": 0, "more": 1}),
    (Attached, "messages", {**dict.fromkeys(("after", "through", "epoch", "first", "last"), 1), "state": [],
                            "messages": [True]}),
    (Lease, "lease", {"number": 9, "lease": b"w", "ttl_ms": 1}),
    (Lease, "take_over", {"number": 9, "lease": "w", "ttl_ms": 1, "take_over": "yes"}),
    (Renew, "token", {"number": 9, "token": 1.0}),
    (Claim, "key", {"number": 9, "key": 1, "ttl_ms": 1}),
    (Settle, "data", {"number": 9, "key": "k", "token": 1, "data": [1]}),
    (Settle, "encoding", {"number": 9, "key": "k", "token": 1, "encoding": False}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "wrong", "body"), WRONG)
def test_wrong_types_are_named(cls: type[Any], wrong: str, body: dict[str, object]) -> None:
    malformed = decode(map_frame(cls, body))
    assert isinstance(malformed, Malformed) and malformed.error.code is ErrorCode.BAD_BODY
    assert malformed.request == (7 if "request" in cls._fields else 0)
    assert f"{cls.__name__.upper()}: {wrong} is " in malformed.error.message


# --- EPHEMERAL --------------------------------------------------------------------------------------------


def test_an_ephemeral_message_has_a_fixed_body() -> None:
    data = encode(Ephemeral(7, 9, BATCH))
    assert data[8:20] == (7).to_bytes(4, "little") + (9).to_bytes(8, "little") and data[20:] == BATCH
    assert BYTES_MIN[data[4]] == 20 + batch.HEAD_BYTES


def test_an_ephemeral_message_is_small() -> None:
    longest = bytes(limits.CONTROL_FRAME_BYTES_MAX - 20)
    assert len(encode(Ephemeral(0, 9, longest))) == limits.CONTROL_FRAME_BYTES_MAX
    with pytest.raises(ProtocolError) as caught:
        encode(Ephemeral(0, 9, longest + b"\0"))
    assert caught.value.code is ErrorCode.FRAME_TOO_LARGE


# --- what must fit ----------------------------------------------------------------------------------------


def test_the_fullest_state_fits_into_one_frame() -> None:
    """With the longest client ids, and 256 open messages besides."""
    value = bytes(limits.STATE_BYTES_MAX // limits.STATE_KEYS_MAX - 8)
    rows = [[f"{at:08}", U64_MAX, U64_MAX, "c" * 128, 2, value] for at in range(limits.STATE_KEYS_MAX)]
    messages = [U64_MAX - at for at in range(limits.OPEN_MESSAGES_MAX)]
    attached = Attached(7, U64_MAX, U64_MAX, U64_MAX, U64_MAX, messages, rows, "recreated")
    assert decode(encode(attached)) == attached


def test_the_largest_values_fit_the_frames_that_carry_them() -> None:
    result = bytes(limits.CLAIM_RESULT_BYTES_MAX)
    settle = Settle(7, U64_MAX, "k" * limits.CLAIM_KEY_BYTES_MAX, U64_MAX, 2, result)
    enter = Enter(7, U64_MAX, U64_MAX, 2, bytes(limits.MEMBER_DATA_BYTES_MAX), limits.GRACE_MS_MAX)
    assert [decode(encode(frame)) for frame in (settle, enter)] == [settle, enter]


def test_an_array_has_at_most_1024_rows() -> None:
    row = ["c", 1, 0, 0, b"", 1, ""]
    full = Presence(9, 1_024, 0, [row] * 1_024, snapshot=True)
    assert decode(encode(full)) == full
    malformed = decode(encode(full._replace(members=[row] * 1_025)))
    assert isinstance(malformed, Malformed) and malformed.error.code is ErrorCode.BAD_BODY


def test_an_ephemeral_batch_keeps_its_offset_at_zero() -> None:
    [record] = batch.read_records(decode(encode(Ephemeral(0, 9, batch.stamp(BATCH, 0, 1_700)))).batch)
    assert (record.offset, record.time_ms, record.data) == (0, 1_700, b"hello")
