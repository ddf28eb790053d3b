"""HELLO and WELCOME over a real socket (PROTOCOL.md 3.2)."""

from __future__ import annotations

import pytest
from outlast_protocol import ErrorCode, limits
from outlast_protocol.frames import HEADER, Error, Hello, Ping, Welcome, encode

from tests.support.broker import Broker
from tests.support.samples import WELCOME


def test_the_welcome_says_what_both_may_rely_on(broker: Broker) -> None:
    welcome = broker.stranger("alice").hello(heartbeat_ms=20_000)
    assert (welcome.version, welcome.client_id, welcome.heartbeat_ms, welcome.features) == (1, "alice", 20_000, [])
    stated = {name.removesuffix("_MAX").lower(): value for name, value in vars(limits).items() if name.isupper()}
    expected = {name: value for name, value in stated.items() if name not in ("control_frame_bytes", "hello_bytes")}
    assert welcome.limits == expected | {"channels": 3}
    assert welcome.server.startswith("outlast/") and welcome.time_ms > 1_600_000_000_000


@pytest.mark.parametrize(("asked_ms", "agreed_ms"), [(1, 1_000), (5_000, 5_000), (10**9, 60_000)])
def test_the_heartbeat_is_kept_within_bounds(broker: Broker, asked_ms: int, agreed_ms: int) -> None:
    assert broker.stranger().hello(heartbeat_ms=asked_ms).heartbeat_ms == agreed_ms


def test_a_client_without_an_id_gets_one(broker: Broker) -> None:
    names = set()
    for _ in range(2):
        stranger = broker.stranger()
        stranger.send(Hello([1]))
        names.add(stranger.expect(Welcome).client_id)
    assert len(names) == 2 and all(names)


def test_the_version_that_both_speak_is_chosen(broker: Broker) -> None:
    stranger = broker.stranger()
    stranger.send(Hello([9, 1, 7], "alice", features=["future"]))
    welcome = stranger.expect(Welcome)
    assert (welcome.version, welcome.features) == (1, [])


HELLO = encode(Hello([1], "alice"))
ENDINGS: dict[str, tuple[bytes, ErrorCode]] = {
    "another magic word": (HELLO.replace(b"OUTL", b"LTUO"), ErrorCode.BAD_MAGIC),
    "no HELLO": (encode(Ping(1)), ErrorCode.UNEXPECTED_FRAME),
    "two HELLOs": (HELLO + HELLO, ErrorCode.UNEXPECTED_FRAME),
    "a frame of the broker": (encode(WELCOME), ErrorCode.UNEXPECTED_FRAME),
    "a long HELLO": (HEADER.pack(16_385, 1, 0, 0), ErrorCode.FRAME_TOO_LARGE),
    "flags": (HEADER.pack(20, 1, 1, 0), ErrorCode.BAD_FRAME),
    "no map": (HEADER.pack(13, 1, 0, 0) + b"OUTL\x01", ErrorCode.BAD_BODY),
    "no versions": (encode(Hello([], "alice")), ErrorCode.UNSUPPORTED_VERSION),
    "versions to come": (encode(Hello([2, 3], "alice")), ErrorCode.UNSUPPORTED_VERSION),
    "an empty client_id": (encode(Hello([1], "")), ErrorCode.BAD_BODY),
    "a long client_id": (encode(Hello([1], "x" * 129)), ErrorCode.BAD_BODY),
    "a control character": (encode(Hello([1], "a\nb")), ErrorCode.BAD_BODY),
    "half a producer": (encode(Hello([1], "alice", [7])), ErrorCode.BAD_BODY),
}


@pytest.mark.parametrize("data, code", ENDINGS.values(), ids=ENDINGS)
def test_a_wrong_beginning_is_answered_and_ends_the_connection(broker: Broker, data: bytes, code: ErrorCode) -> None:
    stranger = broker.stranger()
    stranger.send_bytes(data)
    error = stranger.expect(Error)
    assert (error.request, ErrorCode(error.code)) == (0, code)
    stranger.sees_close()
