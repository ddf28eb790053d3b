from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.full_store import fill
from tests.support.home import home


@pytest.fixture(scope="session")
def _full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    with home(folder) as place:
        fill(place)
    return folder / "data"


@pytest.fixture
def full(_full: Path, tmp_path: Path) -> Path:
    """A data folder with something of every kind in it; each test has its own."""
    return Path(shutil.copytree(_full, tmp_path / "full"))
