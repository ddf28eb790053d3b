"""TLS on the client's side: which certificates it trusts, which it shows, and what a handshake's failure means."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from .errors import ConnectFailed, OutlastError

CA_VARIABLE = "OUTLAST_CA_FILE"
CERTIFICATE_VARIABLE = "OUTLAST_CERTIFICATE_FILE"


def choose(environment: Mapping[str, str], tls: bool) -> ssl.SSLContext | None:
    """None without TLS. Trusts what the system trusts, or the certificates in OUTLAST_CA_FILE alone; shows the one in
    OUTLAST_CERTIFICATE_FILE, which has its key, too. Raises ValueError for files that are no certificates.
    """
    if not tls:
        return None
    ca, certificate = environment.get(CA_VARIABLE) or None, environment.get(CERTIFICATE_VARIABLE) or None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
    except OSError as error:  # what OpenSSL says is one, too
        named = f"{CA_VARIABLE}={ca or ''} {CERTIFICATE_VARIABLE}={certificate or ''}"
        raise ValueError(f"{named}: expected files with certificates in PEM: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_failed(error: ssl.SSLError) -> ConnectFailed:
    """Whom the client does not trust now it will not trust in a second either."""
    if isinstance(error, ssl.SSLCertVerificationError):
        failure = ConnectFailed(f"the broker's certificate is not trusted: {error.verify_message}")
        failure.retryable = False
        failure.advice = f"check the host's name in the address; a CA of your own goes into {CA_VARIABLE}"
        return failure
    failure = ConnectFailed(f"no TLS with what answers there: {error}")
    failure.advice = "if the broker's address is without TLS, connect to outlast:// instead of outlasts://"
    return failure


def unheard(end: OutlastError) -> ConnectFailed:
    """A handshake that the broker does not accept ends so: with TLS 1.3 the client has done its part by then."""
    cause = end.__cause__
    reason = (cause.reason or "") if isinstance(cause, ssl.SSLError) else ""
    if "_ALERT_" in reason:
        said = reason.partition("_ALERT_")[2].lower().replace("_", " ")
        failure = ConnectFailed(f"the broker refuses this client's side of TLS: {said}")
        failure.retryable = False
    else:
        failure = ConnectFailed(f"the connection ended before a word of the broker: {end.message}")
    failure.advice = f"if the broker asks for a certificate, show one with {CERTIFICATE_VARIABLE}"
    return failure
