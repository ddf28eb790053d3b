"""What an operator says of TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .configuration.option import option


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files."""

    certificate: Path | None = option(None, "The certificate of the tls: addresses, then what has signed it; PEM.")
    key: Path | None = option(None, "Its key, if the certificate's file does not have it.")
    client_ca: Path | None = option(None, "Lets in only clients with a certificate that one of these has signed.")
