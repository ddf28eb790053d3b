from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import shell


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broker")


@pytest.fixture(scope="session")
def data(folder: Path) -> Path:
    """That broker's data folder."""
    return folder / "data"


@pytest.fixture(scope="session")
def url(folder: Path, data: Path) -> Iterator[str]:
    """A real broker for all tests: each uses channels of its own."""
    with shell.start("serve", "--listen", f"unix:{folder}/socket", "--data", str(data)) as broker:
        assert broker.stderr is not None
        ready = broker.stderr.readline().decode()
        assert f"ready at outlast+unix://{folder}/socket" in ready
        yield f"outlast+unix://{folder}/socket"
        broker.send_signal(signal.SIGTERM)
        _, err = broker.communicate(timeout=shell.TIMEOUT_S)
    assert (broker.returncode, err) == (0, b"")
