"""A certificate authority for tests, and what it has signed, as files."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme
from outlast_broker.tls_files import TlsFiles

HOST = "127.0.0.1"


class Authority:
    """Writes into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str) -> TlsFiles:
        """A certificate for a broker, in the place of the one that was written before."""
        return self.write(self._ca.issue_cert(*(names or (HOST, "localhost"))))

    def write(self, leaf: trustme.LeafCert) -> TlsFiles:
        certificate, key = self._folder / "server.pem", self._folder / "server.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return TlsFiles(certificate, key)

    def client(self, name: str = "agent@example.org") -> Path:
        """A certificate for a client, with its key."""
        path = self._folder / "client.pem"
        self._ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def trusting(self, certificate: Path | None = None) -> ssl.SSLContext:
        """What a client does its handshake with; it shows `certificate`."""
        context = ssl.create_default_context(cafile=self.file)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context
