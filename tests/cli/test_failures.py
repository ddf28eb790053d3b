from __future__ import annotations

import outlast
import pytest
from outlast_cli.exits import Exit
from outlast_cli.failures import explain, failure_from


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (outlast.ConnectFailed("no answer"), Exit.UNREACHABLE),
        (outlast.ConnectionLost("gone"), Exit.UNREACHABLE),
        (outlast.UnknownChannel("no x"), Exit.REFUSED),
        (outlast.TooLarge("huge"), Exit.REFUSED),
    ],
)
def test_codes(error: outlast.OutlastError, code: Exit) -> None:
    assert failure_from(error).code is code


def test_advice_is_for_a_person_at_a_shell() -> None:
    assert explain(outlast.ConnectFailed("no answer")) == (
        "connect_failed: no answer: start one with `outlast serve`, or name another with --url or OUTLAST_URL"
    )
    assert explain(outlast.TooLarge("2 MB")).startswith("too_large: 2 MB: split the data")


def test_a_failed_handshake_keeps_the_advice_about_tls() -> None:
    error = outlast.ConnectFailed("no TLS with what answers there")
    error.advice = "connect to outlast:// instead"
    assert explain(error).endswith(": connect to outlast:// instead")


def test_a_refused_client_gets_the_brokers_advice() -> None:
    error = outlast.ConnectFailed("refuses this client")
    error.retryable, error.advice = False, "upgrade the older of client and broker"
    assert explain(error).endswith(": upgrade the older of client and broker")
