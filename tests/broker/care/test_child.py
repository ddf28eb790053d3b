from __future__ import annotations

import json
from pathlib import Path

import pytest
from outlast_broker.care.child import main
from outlast_broker.lmdb_file import FORMAT, U64

from tests.broker.store import put


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_it_says_what_it_finds(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(full, 1)
    first, *slices, last = said(capsys)
    assert list(first) == ["of"] and all(list(each) == ["bytes"] for each in slices)
    assert last == {"faults": [], "fault_count": 0, "channels": 8, "records": 164}


def test_it_says_what_it_may_not_read(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(full, "store", b"format", U64.pack(FORMAT + 1))
    main(full, 1)
    [only] = said(capsys)
    assert f"format {FORMAT + 1}, this version reads {FORMAT}" in str(only["wrong_format"])
