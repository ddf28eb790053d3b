"""What may be called how (PROTOCOL.md 6.1)."""

from __future__ import annotations

import pytest
from outlast_broker.names import check_channel_name, check_name, is_name
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Delete, Open

from tests.support.broker import RawClient

GOOD = ["a", "x" * 128, "語" * 42, "a b", " ", "\x80", "🦊", "../..", '"']
BAD = ["", "x" * 129, "語" * 43, "🦊" * 33, "a\nb", "\0", "\x1f", "a\x7f"]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_fit(name: str) -> None:
    assert is_name(name, 128)
    check_name("a cursor's name", name, 128)
    check_channel_name(name)


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_refused_say_whose_they_are_and_what_is_allowed(name: str) -> None:
    assert not is_name(name, 128)
    with pytest.raises(ProtocolError) as caught:
        check_name("a cursor's name", name, 128)
    assert caught.value.code is ErrorCode.BAD_BODY
    assert caught.value.message == "a cursor's name is 1 to 128 bytes of UTF-8, no control characters"


def test_bytes_are_counted_and_not_letters() -> None:
    assert is_name("é" * 64, 128) and not is_name("é" * 65, 128) and is_name("é" * 65, 130)


def test_a_name_as_long_as_a_frame_is_not_remembered() -> None:
    before = is_name.cache_info().currsize
    for at in range(5):
        with pytest.raises(ProtocolError):
            check_name("a key", f"{at}".ljust(60_000), 255)
    assert is_name.cache_info().currsize == before


@pytest.mark.parametrize(
    ("name", "said"), [("", "not 0"), ("x" * 256, "not 256"), ("語" * 86, "not 258"), ("a\nb", "no control characters")]
)
def test_a_channel_name_has_an_error_of_its_own(name: str, said: str) -> None:
    with pytest.raises(ProtocolError, match=said) as caught:
        check_channel_name(name)
    assert caught.value.code is ErrorCode.BAD_CHANNEL_NAME


# --- over a real socket -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "x" * 255, "語" * 85, "a b", "\x80", "🦊", "../..", '"'])
def test_names_that_a_channel_may_have(alice: RawClient, name: str) -> None:
    number = alice.open(name).number
    assert alice.info(name)["channel"] == name and alice.publish(number, "x") == (1, False)
    alice.result(Delete(alice.request(), name))


@pytest.mark.parametrize("name", ["", "x" * 256, "語" * 86, "a\nb", "\0", "\x1f", "a\x7f"])
def test_names_that_no_channel_may_have(alice: RawClient, name: str) -> None:
    alice.refused(Open(1, name), ErrorCode.BAD_CHANNEL_NAME)
    alice.refused(Delete(2, name), ErrorCode.BAD_CHANNEL_NAME)
