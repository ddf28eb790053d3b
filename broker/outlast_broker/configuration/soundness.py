"""What options must say together, whatever each of them says alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import Config
from ..doors.address import TLS_PREFIX, is_private, parse_address

STRANGERS = (
    "can be reached from other machines, and nobody would be asked who they are: whoever reaches it could read, write "
    "and delete everything. Make a key with `outlast key add FILE ID` and give --auth-keys FILE, or listen on "
    "127.0.0.1 or unix:PATH, or accept it with --insecure-no-auth."
)


def unsound(config: Config) -> Iterator[tuple[str, str]]:
    """The name of an option and what is wrong with it, for each that is."""
    if config.insecure_no_auth and config.auth.configured:
        yield "insecure_no_auth", "it lets everybody in, --auth-keys and --auth-jwks do not: decide"
    for text in config.listen:
        if not config.insecure_no_auth and not config.auth.configured and not is_private(parse_address(text)):
            yield "listen", f"{text} {STRANGERS}"
    if _speaks_tls(config) and config.tls.certificate is None:
        yield "listen", "an address with tls: needs a certificate: give --tls-certificate, and --tls-key"


def idle_certificate(config: Config) -> str:
    """What whoever gave a certificate is told if no address uses it; "" if one does.

    It is known only once the sockets are that systemd opens, which stand in the place of `listen`.
    """
    if config.tls.certificate is None or _speaks_tls(config):
        return ""
    how = "as --listen tls:0.0.0.0:6180, or a socket with FileDescriptorName=tls"
    return f"the certificate is for addresses with tls: in front, and there is none that it listens on: give one, {how}"


def _speaks_tls(config: Config) -> bool:
    return any(text.startswith(TLS_PREFIX) for text in config.listen)
