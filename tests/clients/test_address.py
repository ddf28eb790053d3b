"""Addresses as text."""

from __future__ import annotations

import pytest
from outlast.address import URL_DEFAULT, choose, parse


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("outlast://127.0.0.1:6180", "127.0.0.1", 6180),
        ("outlast://broker.example", "broker.example", 6180),
        ("outlast://broker.example:7000/", "broker.example", 7000),
        ("outlast://[::1]:7000", "::1", 7000),
    ],
)
def test_tcp(url: str, host: str, port: int) -> None:
    address = parse(url)
    assert (address.host, address.port, address.path) == (host, port, "")
    assert address.url == url


def test_tls_is_another_scheme() -> None:
    assert parse("outlasts://broker.example").tls and not parse("outlast://broker.example").tls


def test_unix_socket() -> None:
    assert parse("outlast+unix:///run/outlast.sock").path == "/run/outlast.sock"
    assert parse("outlast+unix:///run/a%20b").path == "/run/a b"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6180",
        "http://127.0.0.1:6180",
        "outlast://",
        "outlast://:6180",
        "outlast://host:0",
        "outlast://host:65536",
        "outlast://host:port",
        "outlast://host/path",
        "outlast://host?x=1",
        "outlast://host#x",
        "outlast://user@host",
        "outlast+unix://",
        "outlast+unix:///",
        "outlast+unix://host/path",
        "outlast+unix:///a%00b",
    ],
)
def test_what_is_no_address_says_what_is(url: str) -> None:
    with pytest.raises(ValueError, match=r"allowed are outlast://HOST\[:PORT\], .* and outlast\+unix:///PATH"):
        parse(url)


def test_other_types() -> None:
    with pytest.raises(TypeError, match="int, expected text"):
        parse(6180)  # type: ignore[arg-type]


def test_what_is_given_comes_first_then_the_environment_then_the_default() -> None:
    environment = {"OUTLAST_URL": "outlast://there:1"}
    assert choose("outlast://here:2", environment).host == "here"
    assert choose(None, environment).host == "there"
    assert choose(None, {"OUTLAST_URL": ""}).url == URL_DEFAULT
    assert choose(None, {}).url == URL_DEFAULT
