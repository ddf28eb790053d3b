from __future__ import annotations

from pathlib import Path

from outlast_broker.configuration.settings import load
from outlast_broker.tls_files import TlsFiles


def test_a_certificate_alone_is_enough() -> None:
    flags = {"listen": ("tls:127.0.0.1:0",), "tls_certificate": "server.pem"}
    assert load(None, flags).config.tls == TlsFiles(Path("server.pem"), None, None)
