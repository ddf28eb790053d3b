from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker.doors.address import Address, TcpAddress, UnixAddress, is_private, parse_address

from tests.support.bounds import bounded


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:6180", TcpAddress("127.0.0.1", 6180)),
        ("tls:127.0.0.1:6180", TcpAddress("127.0.0.1", 6180, True)),
        ("tls:[::1]:6180", TcpAddress("::1", 6180, True)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("broker.example:65535", TcpAddress("broker.example", 65_535)),
        ("[::1]:6180", TcpAddress("::1", 6180)),
        ("[2001:db8::7]:1", TcpAddress("2001:db8::7", 1)),
        ("unix:/run/outlast.sock", UnixAddress("/run/outlast.sock")),
        ("unix:relative", UnixAddress("relative")),
        ("unix:/odd:name", UnixAddress("/odd:name")),
    ],
)
def test_addresses_and_their_text(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "6180", ":6180", "localhost", "localhost:", "localhost:http", "localhost:65536", "localhost:-1",
     "::1:6180", "[::1]", "[::1:6180", "[localhost]:1", "unix:", "tcp://localhost:1", "a:1:2", "localhost:123456",
     "tls:", "tls:1", "tls:unix:a", "tls:tls:a:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"use HOST:PORT, \[IPV6\]:PORT, tls:HOST:PORT or unix:PATH"):
        parse_address(text)


@bounded(200)
@given(st.text(max_size=30) | st.from_regex(r"[\[\]:.a-f0-9]{0,20}:[0-9]{1,6}", fullmatch=True))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/x"])
def test_loopback_is_private(address: str) -> None:
    assert is_private(parse_address(address))


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"])
def test_everything_else_is_not(address: str) -> None:
    assert not is_private(parse_address(address))
