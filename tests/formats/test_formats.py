"""Stores that earlier versions wrote, in every format there was: opened, gone through, and asked for all they hold."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from outlast_broker.care.restoration import restore
from outlast_broker.care.verification import verify
from outlast_broker.lmdb_file import FORMAT

from tests.support.broker import running_broker
from tests.support.full_store import contents, send_again

HERE = Path(__file__).parent
FORMATS = sorted(int(path.stem) for path in HERE.glob("*.json"))


def test_the_format_of_this_version_has_its_fixture() -> None:
    assert FORMATS[-1] == FORMAT, "make it: python -m tests.support.full_store tests/formats"


@pytest.mark.parametrize("number", FORMATS)
def test_a_store_of_this_format_is_read_whole(number: int, tmp_path: Path) -> None:
    file = tmp_path / "data" / "data.mdb"
    file.parent.mkdir()
    file.write_bytes(gzip.decompress((HERE / f"{number}.mdb.gz").read_bytes()))
    verdict = verify(file)
    assert verdict.is_whole, verdict.faults
    known = json.loads((HERE / f"{number}.json").read_text())
    restore(file, tmp_path / "restored", 0)
    for folder in (file.parent, tmp_path / "restored"):
        with running_broker(folder) as broker:
            found = asyncio.run(contents(f"outlast+unix://{broker.path}"))
            assert found.keys() == known.keys()
            for channel in known:
                assert found[channel] == known[channel], channel
            send_again(broker)
        assert verify(folder).is_whole
