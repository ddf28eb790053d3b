"""What options must say together, whatever each of them says alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .address import TLS_PREFIX, is_private, parse_address
from .config import Config

STRANGERS = (
    "can be reached from other machines, and Outlast has no authentication yet: whoever reaches it could read, write "
    "and delete everything. Listen on 127.0.0.1 or unix:PATH and put a tunnel in front, or accept that with "
    "--insecure-no-auth."
)


def unsound(config: Config) -> Iterator[tuple[str, str]]:
    """The name of an option and what is wrong with it, for each that is."""
    for text in config.listen:
        if not config.insecure_no_auth and not is_private(parse_address(text)):
            yield "listen", f"{text} {STRANGERS}"
    spoken = any(text.startswith(TLS_PREFIX) for text in config.listen)
    if spoken and config.tls.certificate is None:
        yield "listen", "an address with tls: needs a certificate: give --tls-certificate, and --tls-key"
    if config.tls.certificate is not None and not spoken:
        yield "tls_certificate", "it is for addresses with tls: in front, as --listen tls:0.0.0.0:6180"
