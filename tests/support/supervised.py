"""A broker under a supervisor of ours, as systemd is one: it is handed sockets, and says how it is.

with Listener(tmp_path / "notify") as listener, started(listener, "--memory") as process:
    listener.until("READY", "1")
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from . import carrier, stuck
from .broker import PATIENCE_S

CARRIER = Path(carrier.__file__)
SERVE = ("-m", "outlast_cli", "serve")
STUCK = (stuck.__file__,)


class Listener:
    """Hears what is told under the notify protocol."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def next(self) -> dict[str, str]:
        lines = self._socket.recv(65_536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def falls_silent(self, ms: int) -> bool:
        """Whether nothing more is told for so long, as a watchdog waits. What was told before does not count."""
        try:
            self._socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.next()
            self._socket.settimeout(ms / 1_000)
            self.next()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def until(self, name: str, begin: str = "") -> dict[str, str]:
        """The next message that says `name`, with a value that begins so."""
        while name not in (said := self.next()) or not said[name].startswith(begin):
            pass
        return said


@contextlib.contextmanager
def started(
    listener: Listener,
    *arguments: str,
    sockets: tuple[socket.socket, ...] = (),
    names: str = "",
    stderr: int = subprocess.PIPE,
    program: tuple[str, ...] = SERVE,
    **environment: str,
) -> Iterator[subprocess.Popen[str]]:
    """`outlast serve`, or another program, which is killed at the end if it still runs."""
    command = [sys.executable, "-W", "error", *program, *arguments]
    numbers = [each.fileno() for each in sockets]
    if sockets:
        command = [sys.executable, str(CARRIER), ",".join(map(str, numbers)), names, *command]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
    process = subprocess.Popen(
        command, env=kept | {"NOTIFY_SOCKET": listener.path} | environment, pass_fds=numbers, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
