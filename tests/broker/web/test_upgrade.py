from __future__ import annotations

import pytest
from outlast_broker.web.problem import Problem
from outlast_broker.web.upgrade import accept

# The key and the answer of RFC 6455, 1.3.
GOOD = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_the_example_of_the_rfc() -> None:
    said = accept(GOOD).decode()
    assert said.startswith("HTTP/1.1 101 ") and said.endswith("\r\n\r\n")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in said
    assert "Sec-WebSocket-Protocol" not in said


def test_the_subprotocol_is_named_when_it_is_offered() -> None:
    said = accept(GOOD | {"Sec-WebSocket-Protocol": "chat, outlast.v1"}).decode()
    assert "\r\nSec-WebSocket-Protocol: outlast.v1\r\n" in said
    assert "Sec-WebSocket-Protocol" not in accept(GOOD | {"Sec-WebSocket-Protocol": "chat"}).decode()


def test_to_share_is_chosen_before_not_to() -> None:
    said = accept(GOOD | {"Sec-WebSocket-Protocol": "outlast.v1, outlast.shared.v1"}).decode()
    assert "\r\nSec-WebSocket-Protocol: outlast.shared.v1\r\n" in said


def test_compression_is_not_agreed_to() -> None:
    assert b"Extensions" not in accept(GOOD | {"Sec-WebSocket-Extensions": "permessage-deflate"})


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Upgrade", "h2c", 426), ("Connection", "keep-alive", 426), ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Key", "", 400), ("Sec-WebSocket-Key", "dGhl", 400), ("Sec-WebSocket-Key", "\xff" * 24, 400),
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_refused(name: str, value: str, status: int) -> None:
    with pytest.raises(Problem) as caught:
        accept(GOOD | {name: value})
    assert caught.value.status == status
    assert status == 400 or caught.value.headers["Sec-WebSocket-Version"] == "13"
