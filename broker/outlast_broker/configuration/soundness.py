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
    spoken = any(text.startswith(TLS_PREFIX) for text in config.listen)
    if spoken and config.tls.certificate is None:
        yield "listen", "an address with tls: needs a certificate: give --tls-certificate, and --tls-key"
    if config.tls.certificate is not None and not spoken:
        yield "tls_certificate", "it is for addresses with tls: in front, as --listen tls:0.0.0.0:6180"
