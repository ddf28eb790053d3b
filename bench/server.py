"""A server under test: a child process on its own cores, with its own data folder, ended by its pid."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import machine
from .plan import Plan

STOP_S = 15.0


class ServerFailed(Exception):
    """The server did not start, or ended by itself."""


class Server:
    """`address` is where clients connect; `folder` is where it keeps its data; `log` holds what it printed."""

    def __init__(self, plan: Plan, folder: Path, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.address = ("127.0.0.1", 0)
        self.log = folder.parent / f"{folder.name}.log"
        self._log_file = self.log.open("ab")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            env=os.environ | (env or {}),
            preexec_fn=lambda: _become_child(plan),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_line(self, timeout_s: float = 60.0) -> str:
        """The next line on the server's stdout, which is how some say where they listen."""
        assert self._process.stdout is not None
        line = b""
        deadline = time.monotonic() + timeout_s
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 1) if ready else b""
            if not piece:
                raise ServerFailed(self._complaint("it printed no address"))
            line += piece
        return line.decode().strip()

    def wait_until(self, answers: Callable[[socket.socket], bool], timeout_s: float = 30.0) -> None:
        """Waits until something listens at `address` and `answers` likes what it says."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFailed(self._complaint(f"it ended with {self._process.returncode}"))
            try:
                with socket.create_connection(self.address, 1.0) as probe:
                    probe.settimeout(1.0)
                    if answers(probe):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise ServerFailed(self._complaint("it does not answer"))

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log_file.close()

    def _complaint(self, what: str) -> str:
        tail = self.log.read_text(errors="replace")[-2_000:]
        return f"{self._process.args!r}: {what}\n{tail}"


def _become_child(plan: Plan) -> None:
    machine.die_with_parent()
    machine.pin(plan.server_cores)


def free_port() -> int:
    """A port that nobody listens on now, for servers that cannot choose one and say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
