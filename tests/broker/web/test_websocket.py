"""The reader of WebSocket frames; tests/doors runs the case files of everybody against it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st
from outlast_broker.web.websocket import (
    CloseCode,
    Message,
    Opcode,
    Reader,
    close_frame,
    frame_head,
    unmask,
)

MASK = b"\x12\x34\x56\x78"


def frame(opcode: int, payload: bytes = b"", fin: bool = True, flags: int = 0, length: int | None = None) -> bytes:
    """As a client says it."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | flags | opcode
    if size <= 125:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + MASK + unmask(payload, MASK)


def read(data: bytes, bytes_max: int = 1_000) -> tuple[list[Message], CloseCode | None]:
    reader = Reader(bytes_max)
    messages = reader.receive(data)
    return messages, None if reader.failure is None else reader.failure.code


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmasking_is_an_xor_byte_by_byte(payload: bytes, mask: bytes) -> None:
    assert unmask(payload, mask) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@given(st.lists(st.binary(max_size=200), min_size=1), st.integers(1, 50))
def test_messages_come_out_whole_whatever_the_pieces(payloads: list[bytes], size: int) -> None:
    reader = Reader(1_000)
    data = b"".join(frame(Opcode.BINARY, payload) for payload in payloads)
    came = [each for at in range(0, len(data), size) for each in reader.receive(data[at : at + size])]
    assert came == [Message(Opcode.BINARY, payload) for payload in payloads]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
def test_every_form_of_length(size: int) -> None:
    [message], failure = read(frame(Opcode.BINARY, b"x" * size), 1 << 20)
    assert len(message.data) == size and failure is None
    head = frame_head(Opcode.BINARY, size)
    assert len(head) == (2 if size <= 125 else 4 if size < 65_536 else 10)


def test_fragments_make_one_message_with_a_ping_in_between() -> None:
    data = frame(2, b"a", fin=False) + frame(9, b"p") + frame(0, b"", fin=False) + frame(0, b"b") + frame(2, b"c")
    assert read(data) == (
        [Message(Opcode.PING, b"p"), Message(Opcode.BINARY, b"ab"), Message(Opcode.BINARY, b"c")],
        None,
    )


def test_a_message_that_is_too_long_is_refused_by_its_head() -> None:
    assert read(frame(2, length=1_001)) == ([], CloseCode.TOO_BIG)
    assert read(frame(2, length=2**63)) == ([], CloseCode.TOO_BIG)
    assert read(frame(2, b"x" * 600, fin=False) + frame(0, length=401)) == ([], CloseCode.TOO_BIG)


def test_text_is_refused_by_its_first_byte() -> None:
    assert read(frame(1, length=900)[:2]) == ([], CloseCode.UNSUPPORTED)


@pytest.mark.parametrize(
    "data",
    [
        frame(3), frame(11), frame(2, flags=0x40), frame(2, flags=0x10),
        b"\x82\x01x",
        frame(9, fin=False), frame(9, b"x" * 126), frame(8, b"x"),
        frame(0), frame(2, fin=False) + frame(2),
        frame(8, (1005).to_bytes(2, "big")), frame(8, (999).to_bytes(2, "big")), frame(8, (5000).to_bytes(2, "big")),
    ],
)  # fmt: skip
def test_what_breaks_the_rules_is_a_protocol_error(data: bytes) -> None:
    assert read(frame(2, b"before") + data + frame(2, b"after"))[1] is CloseCode.PROTOCOL_ERROR


def test_what_came_before_an_error_is_given() -> None:
    assert read(frame(2, b"a") + frame(3)) == ([Message(Opcode.BINARY, b"a")], CloseCode.PROTOCOL_ERROR)


def test_a_reason_that_is_no_text_is_refused() -> None:
    assert read(frame(8, b"\x03\xe8\xff"))[1] is CloseCode.BAD_TEXT


def test_nothing_is_read_after_a_close_or_an_error() -> None:
    reader = Reader(1_000)
    [close] = reader.receive(frame(8, b"\x03\xe8bye") + frame(2, b"x"))
    assert close == Message(Opcode.CLOSE, b"\x03\xe8bye")
    assert reader.receive(frame(2, b"x")) == [] and reader.failure is None


def test_a_close_frame_never_outgrows_what_one_may_have() -> None:
    said = close_frame(1001, "x" * 500)
    assert len(said) == 2 + 125 and said[2:4] == (1001).to_bytes(2, "big")
