from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from outlast_cli.session import ConnectionNews

from . import shell


def test_losses_and_returns_are_told_once() -> None:
    news = ConnectionNews("outlast://x")
    states = ["connecting", "waiting", "connecting", "waiting", "connecting", "open"]
    told = [news.tell(state, "refused") for state in states]
    assert told == [None, "no connection to outlast://x yet, trying again: refused", None, None, None, None]
    told = [news.tell(state, "gone") for state in ("waiting", "connecting", "waiting", "open", "closed")]
    assert told == ["connection lost, reconnecting: gone", None, None, "connected again", None]


def serve(folder: Path) -> subprocess.Popen[bytes]:
    broker = shell.start("serve", "--listen", f"unix:{folder}/s", "--data", str(folder / "data"))
    assert broker.stderr is not None
    assert b"ready" in broker.stderr.readline()
    return broker


def test_a_killed_broker_costs_a_reader_nothing(tmp_path: Path) -> None:
    url = f"outlast+unix://{tmp_path}/s"
    with serve(tmp_path) as broker, shell.start("sub", "ch", "--from", "earliest", "-n2", url=url) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        assert shell.call("pub", "ch", "one", url=url).code == 0
        assert reader.stdout.readline() == b"one\n"
        broker.send_signal(signal.SIGKILL)
        broker.wait(shell.TIMEOUT_S)
        assert reader.stderr.readline().startswith(b"outlast: connection lost, reconnecting: ")
        with serve(tmp_path) as successor:
            assert shell.call("pub", "ch", "two", url=url).code == 0
            assert reader.stdout.readline() == b"two\n"
            assert reader.wait(shell.TIMEOUT_S) == 0
            assert reader.stderr.read() == b"outlast: connected again\n"
            successor.send_signal(signal.SIGTERM)
