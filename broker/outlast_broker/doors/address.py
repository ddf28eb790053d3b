"""The addresses that `--listen` takes: HOST:PORT, [IPV6]:PORT, the same behind tls:, and unix:PATH."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple


class TcpAddress(NamedTuple):
    host: str
    port: int
    tls: bool = False

    @property
    def place(self) -> str:
        """Without what is spoken there."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return TLS_PREFIX + self.place if self.tls else self.place


class UnixAddress(NamedTuple):
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


TLS_PREFIX = "tls:"
Address = TcpAddress | UnixAddress

_TCP = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]/]+)):(?P<port>\d{1,5})")


def parse_address(text: str) -> Address:
    """Raises ValueError that says what is allowed."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return UnixAddress(text.removeprefix("unix:"))
    tls = text.startswith(TLS_PREFIX)
    match = _TCP.fullmatch(text.removeprefix(TLS_PREFIX))
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(f"{text!r} is no address to listen on: use HOST:PORT, [IPV6]:PORT, tls:HOST:PORT or unix:PATH")
    return TcpAddress(match["v6"] or match["host"], int(match["port"]), tls)


def is_private(address: Address) -> bool:
    """Only this machine can reach it."""
    if isinstance(address, UnixAddress) or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False
