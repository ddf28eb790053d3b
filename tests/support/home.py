"""A data folder and a socket that outlive the brokers which run there, one after the other.

    with home(tmp_path, journal_bytes=4096) as place:
        broker = place.start()
        broker.kill()
        broker = place.start()

The processes are those of rigged.py: `place.knob(name, value)` makes their world worse.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import rigged
from .broker import PATIENCE_S, BrokerProcess, socket_path


class Home:
    def __init__(self, folder: Path, path: str, settings: dict[str, int]) -> None:
        self.data = folder / "data"
        self.path = path
        self.settings = settings
        self._knobs = folder / "knobs"
        self._complaints = folder / "complaints"
        self._running: BrokerProcess | None = None
        self._knobs.mkdir()

    @property
    def url(self) -> str:
        return f"outlast+unix://{self.path}"

    def knob(self, name: str, value: object) -> None:
        """Seen by the next use of it, whole or not at all. None takes it away."""
        if value is None:
            (self._knobs / name).unlink()
            return
        fresh = self._knobs / f".{name}"
        fresh.write_text(str(value))
        fresh.rename(self._knobs / name)

    def start(self, wait: bool = True) -> BrokerProcess:
        """The next broker; what was left of the last one is killed first."""
        self.clear()
        given = [f"{name}={value}" for name, value in self.settings.items()]
        command = [sys.executable, rigged.__file__, str(self.data), self.path, str(self._knobs), *given]
        with self._complaints.open("a") as complaints:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        self._running = BrokerProcess(process, self.path)
        if wait:
            self.await_ready()
        return self._running

    def await_ready(self) -> None:
        process = self._process()
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE_S), "the broker process does not start"
        assert process.stdout.readline() == "ready\n", self.complaints()

    @property
    def pid(self) -> int:
        return self._process().pid

    def stop(self) -> None:
        """One SIGTERM, and the exit code of a graceful stop."""
        process = self._process()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, self.complaints()

    def _process(self) -> subprocess.Popen[str]:
        assert self._running is not None, "no broker was started"
        return self._running.process

    def complaints(self) -> str:
        """What all brokers of this place said on stderr."""
        return self._complaints.read_text()

    def clear(self) -> None:
        """Kills what runs; lets go of its pipe and its clients."""
        broker, self._running = self._running, None
        if broker is None:
            return
        broker.leave_all()
        if broker.process.poll() is None:
            broker.kill()
        assert broker.process.stdout is not None
        broker.process.stdout.close()


def memory_bytes(broker: BrokerProcess) -> int:
    """What a broker process has allocated, without the pages of its store that the kernel keeps for it."""
    with open(f"/proc/{broker.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) * 1024


@contextmanager
def home(folder: Path, **settings: int) -> Iterator[Home]:
    """`settings` are fields of Config."""
    with socket_path() as path:
        place = Home(folder, path, settings)
        try:
            yield place
        finally:
            place.clear()
            said = place.complaints() if os.path.exists(folder / "complaints") else ""
            print(said, end="")
