from __future__ import annotations

import pytest
from outlast_broker.web.origins import Origins, check_origin, is_loopback
from outlast_broker.web.problem import Problem


def code(origin: str | None, host: str, *allowed: str, on_loopback: bool = True) -> str | None:
    try:
        Origins(allowed).check(origin, host, on_loopback)
    except Problem as problem:
        return problem.code
    return None


@pytest.mark.parametrize("host", ["127.0.0.1:6180", "[::1]:6180", "localhost", "LOCALHOST:6180", "app.localhost:1"])
def test_one_who_is_no_browser_is_let_in(host: str) -> None:
    assert code(None, host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:6180", "localhost.evil.example", "", "[", "127.0.0.1.x"]
)
def test_a_name_that_was_bent_to_loopback_is_refused(host: str) -> None:
    assert code(None, host) == "bad_host"
    assert code(f"http://{host}", host) == "bad_host"
    assert code(None, host, on_loopback=False) is None, "there it may be the machine's own"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:6180", "localhost:6180"), ("http://127.0.0.1", "127.0.0.1:80"),
        ("https://localhost", "localhost:443"), ("https://localhost", "localhost"),
        ("http://[::1]:6180", "[::1]:6180"),
    ],
)  # fmt: skip
def test_the_brokers_own_pages_are_let_in(origin: str, host: str) -> None:
    assert code(origin, host) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost:3000", "http://127.0.0.1:6180", "null", "", "file://", "http://[",
     "http://localhost:99999", "http://localhost:6180.evil.example"],
)  # fmt: skip
def test_pages_of_others_are_not(origin: str) -> None:
    assert code(origin, "localhost:6180") == "bad_origin"


def test_those_that_are_allowed_are_let_in_and_so_is_their_host() -> None:
    allowed = ("https://app.example.org/", "http://localhost:3000")
    assert code("https://app.example.org", "localhost:6180", *allowed) is None
    assert code("HTTP://localhost:3000", "localhost:6180", *allowed) is None
    assert code(None, "app.example.org", *allowed) is None
    assert code("https://app.example.org:8443", "localhost:6180", *allowed) == "bad_origin"
    assert code("http://app.example.org", "localhost:6180", *allowed) == "bad_origin"


def test_a_star_lets_everybody_in() -> None:
    assert code("https://evil.example", "evil.example", "*") is None
    assert Origins(["*"]).names("null")


@pytest.mark.parametrize("text", ["*", "https://a.example", "http://localhost:3000", "https://a.example/"])
def test_what_is_an_origin(text: str) -> None:
    check_origin(text)


@pytest.mark.parametrize("text", ["", "a.example", "ftp://a", "https://", "https://a/b", "https://a:x", "https://u@a"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        check_origin(text)


def test_what_a_socket_is_called() -> None:
    assert is_loopback(("127.0.0.1", 6180)) and is_loopback(("::1", 6180, 0, 0))
    assert not is_loopback(("10.0.0.1", 6180)) and not is_loopback("/run/socket") and not is_loopback(None)
