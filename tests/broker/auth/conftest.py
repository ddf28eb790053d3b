from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker, running_broker
from tests.support.credentials import Credentials


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


@pytest.fixture
def guarded(credentials: Credentials) -> Iterator[Broker]:
    """A broker that asks who comes."""
    with running_broker(auth=credentials.settings()) as broker:
        yield broker
