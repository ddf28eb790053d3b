"""Where a broker is, as text: `outlast://HOST[:PORT]`, with TLS `outlasts://HOST[:PORT]`, or `outlast+unix:///PATH`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

URL_DEFAULT = "outlast://127.0.0.1:6180"
URL_VARIABLE = "OUTLAST_URL"
PORT_DEFAULT = 6180
_ALLOWED = "allowed are outlast://HOST[:PORT], outlasts://HOST[:PORT] with TLS, and outlast+unix:///PATH"


class Address(NamedTuple):
    """`path` is set for a Unix socket, `host` and `port` otherwise; `url` is for people."""

    url: str
    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False


def parse(url: str) -> Address:
    """Raises ValueError or TypeError that says what is allowed."""
    if not isinstance(url, str):
        raise TypeError(f"the address is {type(url).__name__}, expected text: {_ALLOWED}")
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{url!r} has more than an address needs: {_ALLOWED}")
    if parts.scheme in ("outlast", "outlasts"):
        return _tcp(url, parts)
    path = unquote(parts.path)
    if parts.scheme == "outlast+unix" and not parts.netloc and len(path) > 1 and "\0" not in path:
        return Address(url, path=path)
    raise ValueError(f"{url!r} is no address of a broker: {_ALLOWED}")


def _tcp(url: str, parts: SplitResult) -> Address:
    try:
        port = PORT_DEFAULT if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"{url!r} has a port outside 1 to 65535: {_ALLOWED}") from None
    if not parts.hostname or parts.path.strip("/") or not port:
        raise ValueError(f"{url!r} needs a host and perhaps a port, and nothing else: {_ALLOWED}")
    return Address(url, host=parts.hostname, port=port, tls=parts.scheme == "outlasts")


def choose(url: str | None, environment: Mapping[str, str]) -> Address:
    """What was asked for, else OUTLAST_URL, else the port on this machine that brokers use."""
    return parse(url if url is not None else environment.get(URL_VARIABLE) or URL_DEFAULT)
