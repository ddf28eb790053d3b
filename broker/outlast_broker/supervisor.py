"""Who started this process, as systemd does it: where to tell how things are, and the sockets that were opened for us.

The protocols are those of sd_notify(3) and sd_listen_fds(3): lines in a datagram, and descriptors from 3 on.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from .doors.address import Address, TcpAddress, UnixAddress

FIRST_DESCRIPTOR = 3
# A socket of this name (`FileDescriptorName=`) speaks TLS.
TLS_NAME = "tls"


class Supervisor:
    """Of an environment; with nothing in it there is nobody to tell, and `tell` does nothing. Raises OSError."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._path else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self.watchdog_ms = _watchdog_ms(environment, pid)
        self.sockets = inherited(environment, pid)

    def tell(self, *lines: str) -> None:
        """Whoever does not listen is told nothing: a broker does not end for that."""
        if self._socket is not None:
            address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), address)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _watchdog_ms(environment: Mapping[str, str], pid: int) -> int:
    """Within so long a sign of life is expected; 0: none is."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0
    return int(environment.get("WATCHDOG_USEC", "0")) // 1_000


def inherited(environment: Mapping[str, str], pid: int) -> list[tuple[Address, socket.socket]]:
    """The sockets that this process was started with. Raises OSError for one that nobody can come through."""
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = int(environment.get("LISTEN_FDS", "0"))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (count - len(names))
    return [_taken(FIRST_DESCRIPTOR + index, name) for index, name in enumerate(names[:count])]


def _taken(descriptor: int, name: str) -> tuple[Address, socket.socket]:
    os.set_inheritable(descriptor, False)
    found = socket.socket(fileno=descriptor)
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.detach()
        raise OSError(f"descriptor {descriptor}, {name or 'which has no name'}, is no stream socket that listens")
    bound = found.getsockname()
    if found.family == socket.AF_UNIX:
        return UnixAddress(bound), found
    return TcpAddress(bound[0], bound[1], name == TLS_NAME), found
