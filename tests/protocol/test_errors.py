from __future__ import annotations

import pytest
from outlast_protocol import ERRORS, ErrorCode, ProtocolError


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_says_how_to_treat_it_and_what_to_do(code: ErrorCode) -> None:
    traits = ERRORS[code]
    assert isinstance(traits.retryable, bool) and isinstance(traits.fatal, bool)
    assert traits.advice and not traits.advice.endswith(".")


def test_the_table_has_a_row_for_every_code_and_no_other() -> None:
    assert list(ERRORS) == list(ErrorCode)


def test_an_error_carries_its_code_traits_and_current_values() -> None:
    error = ProtocolError(ErrorCode.SEQUENCE_GAP, "sequence 9 came after 4", expected=5)
    assert (error.code, error.name, error.detail) == (32, "sequence_gap", {"expected": 5})
    assert (error.retryable, error.fatal) == (True, False)
    assert error.message == "sequence 9 came after 4"


def test_an_error_reads_as_name_message_and_advice() -> None:
    error = ProtocolError(ErrorCode.NOT_SUBSCRIBED, "channel 9")
    assert str(error) == "not_subscribed: channel 9 (SUBSCRIBE first)"


def test_framing_errors_are_fatal_and_refused_requests_are_not() -> None:
    fatal = {code for code, traits in ERRORS.items() if traits.fatal}
    assert fatal == {code for code in ErrorCode if code < 20} | {ErrorCode.OVERLOADED, ErrorCode.INTERNAL}
