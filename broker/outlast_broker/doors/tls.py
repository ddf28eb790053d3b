"""TLS for the addresses that speak it: the certificate, and how another one takes its place while they are in use.

A connection keeps what it was made with; a handshake that begins uses what was loaded last.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import logs
from ..tls_files import TlsFiles
from .handshake import Context

logger = logs.logger("outlast.tls")

_HANDSHAKE_TURNS = 8


class TlsError(Exception):
    """The files are no certificate to serve with; the text says which one, and why."""


class Tls:
    """Raises TlsError if there is nothing to begin with."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = load(files)
        self.expires_ms = expires_ms(self.context, files)

    def prepare(self) -> Callable[[], str]:
        """What takes up what is in the files now, and says so. Raises TlsError; what was in force stays until then."""
        context = load(self._files)
        expires = expires_ms(context, self._files)

        def adopt() -> str:
            self.context, self.expires_ms = context, expires
            return f"certificate {self._files.certificate}"

        return adopt


def load(files: TlsFiles) -> ssl.SSLContext:
    """What a handshake is made with: TLS 1.2 or newer, nothing renegotiated."""
    if files.certificate is None:
        raise TlsError("an address with tls: needs a certificate: give --tls-certificate")
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    key = files.key or files.certificate
    try:
        context.load_cert_chain(files.certificate, key, password=_no_password)
    except OSError as error:  # what OpenSSL says is one, too
        raise TlsError(_unusable(f"certificate {files.certificate} with key {key}", error)) from None
    if files.client_ca is not None:
        _require_clients(context, files.client_ca)
    return context


def _require_clients(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except OSError as error:
        raise TlsError(_unusable(f"client CA {client_ca}", error)) from None
    context.verify_mode = ssl.CERT_REQUIRED


def _no_password() -> bytes:
    raise TlsError("the key is encrypted, and nobody is there to type its password: store it without one")


def _unusable(what: str, error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        why = "the key is not the certificate's"
    elif isinstance(error, ssl.SSLError):
        why = "expected PEM, the certificate first and what has signed it after it"
    else:
        why = error.strerror or str(error)
    return f"{what}: {why}"


def expires_ms(context: ssl.SSLContext, files: TlsFiles) -> int:
    """When clients stop to accept the certificate, 0 if that cannot be told; one that they refuse already is warned of.

    A client in memory asks: nothing else in the standard library reads a certificate.
    """
    assert files.certificate is not None
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    asking.load_verify_locations(files.certificate)
    try:
        shown = _shown(context, asking)
    except ssl.SSLError as error:
        logger.error("certificate_unfit", certificate=str(files.certificate), error=error.reason)
        return 0
    return int(ssl.cert_time_to_seconds(shown["notAfter"])) * 1_000


def _shown(context: ssl.SSLContext, asking: ssl.SSLContext) -> dict[str, Any]:
    """The certificate that a client sees. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server)
    for turn in range(_HANDSHAKE_TURNS):
        try:
            (server if turn % 2 else client).do_handshake()
        except ssl.SSLWantReadError:
            continue
        if not turn % 2:
            break
    return client.getpeercert() or {}
