from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import outlast
import pytest
from outlast import trust

from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def chosen(environment: dict[str, str]) -> ssl.SSLContext:
    context = trust.choose(environment, tls=True)
    assert context is not None
    return context


def test_without_tls_nothing_is_chosen() -> None:
    assert trust.choose({trust.CA_VARIABLE: "/nowhere"}, tls=False) is None


def test_by_default_the_system_is_trusted() -> None:
    context = chosen({})
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_file_of_authorities_is_trusted_alone(authority: Authority) -> None:
    context = chosen({trust.CA_VARIABLE: str(authority.file), trust.CERTIFICATE_VARIABLE: ""})
    assert len(context.get_ca_certs()) == 1


def test_a_certificate_to_show_comes_with_its_key(authority: Authority) -> None:
    chosen({trust.CERTIFICATE_VARIABLE: str(authority.client())})
    with pytest.raises(ValueError, match=trust.CERTIFICATE_VARIABLE):
        chosen({trust.CERTIFICATE_VARIABLE: str(authority.file)})


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match=f"{trust.CA_VARIABLE}=/nowhere.*PEM"):
        chosen({trust.CA_VARIABLE: "/nowhere"})


def test_a_context_without_tls_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="outlasts://"):
        outlast.connect("outlast://broker.example", ssl_context=ssl.create_default_context())


def test_whom_it_does_not_trust_it_does_not_ask_again() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "certificate has expired"
    failure = trust.tls_failed(error)
    assert not failure.retryable and "expired" in failure.message and trust.CA_VARIABLE in failure.advice


def test_who_speaks_tls_where_none_is_spoken_is_told_what_to_do() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def meet() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(outlast.ConnectFailed, match="no TLS .* connect to outlast://"):
                await outlast.connect(f"outlasts://127.0.0.1:{port}", timeout=0.3).__aenter__()

    asyncio.run(meet())


def test_what_speaks_no_tls_may_be_meant_without() -> None:
    failure = trust.tls_failed(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"))
    assert failure.retryable and "outlast://" in failure.advice


def test_an_alert_is_the_brokers_last_word() -> None:
    end, alert = outlast.ConnectionLost("the connection ended"), ssl.SSLError(1, "alert")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    end.__cause__ = alert
    failure = trust.unheard(end)
    assert not failure.retryable and failure.message.endswith("TLS: certificate required")
    assert trust.CERTIFICATE_VARIABLE in failure.advice


def test_an_end_before_the_first_word_may_be_a_broker_that_knows_its_clients() -> None:
    failure = trust.unheard(outlast.ConnectionLost("the connection ended"))
    assert failure.retryable and trust.CERTIFICATE_VARIABLE in failure.advice
