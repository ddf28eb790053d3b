from __future__ import annotations

import datetime
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from outlast_broker.doors.tls import Tls, TlsError, load
from outlast_broker.tls_files import TlsFiles

from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shown_by(context: ssl.SSLContext, authority: Authority) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The subject of the certificate that a client gets to see."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    asking = authority.trusting()
    asking.check_hostname = False
    client = asking.wrap_bio(to_client, to_server)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client.getpeercert()
    assert shown
    return tuple(shown["subjectAltName"])  # type: ignore[arg-type]


def test_nothing_older_than_1_2_is_spoken(authority: Authority) -> None:
    assert load(authority.server()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_one_file_may_hold_certificate_and_key(authority: Authority) -> None:
    load(TlsFiles(authority.client()))


def test_when_the_certificate_ends_is_known(authority: Authority) -> None:
    ends = datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC)
    assert Tls(authority.write(trustme.CA().issue_cert("x.example", not_after=ends))).expires_ms == 2_209_075_200_000


def test_a_certificate_that_is_over_is_said(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    over = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    with caplog.at_level(logging.ERROR, "outlast.tls"):
        tls = Tls(authority.write(trustme.CA().issue_cert("x.example", not_before=over, not_after=over)))
    assert tls.expires_ms == 0 and "certificate_unfit" in caplog.text


def test_clients_need_a_certificate_only_where_that_is_asked(authority: Authority) -> None:
    files = authority.server()
    assert load(files).verify_mode is ssl.CERT_NONE
    asking = Tls(replace(files, client_ca=authority.file))
    assert asking.context.verify_mode is ssl.CERT_REQUIRED and asking.expires_ms > 0


def encrypted(files: TlsFiles) -> None:
    assert files.key is not None
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    files.key.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))


def not_its_own(files: TlsFiles) -> None:
    assert files.key is not None
    files.key.write_bytes(trustme.CA().issue_cert("x.example").private_key_pem.bytes())


def no_pem(files: TlsFiles) -> None:
    assert files.certificate is not None
    files.certificate.write_text("hello")


def missing(files: TlsFiles) -> None:
    assert files.key is not None
    files.key.unlink()


BROKEN = [(encrypted, "encrypted"), (not_its_own, "is not the certificate's"), (no_pem, "PEM"), (missing, "No such")]


@pytest.mark.parametrize(("spoil", "said"), BROKEN)
def test_what_cannot_be_served_with_is_refused_and_said(authority: Authority, spoil: object, said: str) -> None:
    assert callable(spoil)
    files = authority.server()
    spoil(files)
    with pytest.raises(TlsError, match=said):
        Tls(files)


def test_a_client_ca_that_is_none_is_refused(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="client CA .*No such"):
        Tls(replace(authority.server(), client_ca=tmp_path / "nowhere"))


def test_no_certificate_at_all_says_what_to_do() -> None:
    with pytest.raises(TlsError, match="--tls-certificate"):
        Tls(TlsFiles())


def test_reloading_takes_up_what_is_there_now(authority: Authority) -> None:
    tls = Tls(authority.server("old.example"))
    assert shown_by(tls.context, authority) == (("DNS", "old.example"),)
    authority.server("new.example")
    assert "server.pem" in tls.prepare()()
    assert shown_by(tls.context, authority) == (("DNS", "new.example"),)


@pytest.mark.parametrize(("spoil", "said"), BROKEN)
def test_a_broken_certificate_on_reload_keeps_the_old_one(authority: Authority, spoil: object, said: str) -> None:
    assert callable(spoil)
    files = authority.server("old.example")
    tls = Tls(files)
    expires_ms = tls.expires_ms
    spoil(files)
    with pytest.raises(TlsError, match=said):
        tls.prepare()()
    assert shown_by(tls.context, authority) == (("DNS", "old.example"),) and tls.expires_ms == expires_ms
