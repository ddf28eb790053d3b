"""Who may come here out of a browser. Pure.

A page of any site can have its visitor's browser ask for things on this machine. Two rules keep such pages out:

* The `Origin` that a browser names must be the broker's own, or one that is allowed.
* On a loopback address the `Host` must be an address, `localhost`, or the host of an allowed origin: else a site
  could give its own name this address (DNS rebinding), and would be "the same origin".
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from .problem import Problem

ANY = "*"
_PORTS = {"http": 80, "https": 443}


class Origins:
    """`allowed` are origins as browsers write them, as https://app.example.org, or "*" for all."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}
        self._hosts = {urlsplit(origin).hostname or "" for origin in self._allowed}

    def check(self, origin: str | None, host: str, on_loopback: bool) -> None:
        """Raises Problem: 403 or 421. No origin is no browser, or a page's own."""
        if ANY in self._allowed:
            return
        if on_loopback and not self._is_local(host):
            text = f"this broker is not {host[:100]!r}"
            raise Problem(421, "bad_host", text, "ask for it by its address, or start it with --allow-origin")
        if origin is not None and not self.names(origin) and not _same(origin, host):
            text = f"pages of {origin[:100]!r} may not come here"
            raise Problem(403, "bad_origin", text, "start the broker with --allow-origin for that origin")

    def names(self, origin: str) -> bool:
        """Whether this one is allowed by name, and may so be told of answers."""
        return ANY in self._allowed or origin.lower() in self._allowed

    def _is_local(self, host: str) -> bool:
        name = _host_name(host)
        return name in self._hosts or name == "localhost" or name.endswith(".localhost") or is_address(name)


def check_origin(text: str) -> None:
    """Raises ValueError that says what is allowed."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if text != ANY and (not known or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username):
        raise ValueError(f"{text!r} is no origin: use https://HOST[:PORT], http://HOST[:PORT], or * for all")


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: object) -> bool:
    """Of a socket's own name: (host, port, ...), or a path, which no browser reaches."""
    return isinstance(name, tuple) and is_address(name[0]) and ip_address(name[0]).is_loopback


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    """Whether an origin leads to `host`. What encrypts in front of the broker changes the scheme alone."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = _PORTS.get(theirs.scheme)
        if default is None or not theirs.hostname:
            return False
        return (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default)
    except ValueError:
        return False
