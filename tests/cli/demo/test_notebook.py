from __future__ import annotations

from pathlib import Path

from outlast import Record
from outlast_cli.demo.notebook import Notebook
from outlast_cli.demo.tally import Tally


def records(first: int, last: int) -> list[Record]:
    return [Record(offset, f"t{offset} ", "token", {}, "agent", 1, 7) for offset in range(first, last + 1)]


def expected(last: int) -> Tally:
    tally = Tally()
    for record in records(1, last):
        tally.add(record.offset, str(record.data).encode())
    return tally


def test_a_notebook_goes_on_after_its_viewer_died(tmp_path: Path) -> None:
    first = Notebook(tmp_path)
    assert first.position is None
    for record in records(1, 5):
        first.add(record)
    first.save()
    # What follows was not saved: the viewer dies with its text written and its position not.
    first.add(records(6, 6)[0])
    first._text.flush()
    second = Notebook(tmp_path)
    assert second.position == "0000000000000007:5"
    for record in records(6, 8):
        second.add(record)
    second.close()
    assert second.tally.account() == expected(8).account()
    assert (tmp_path / "report.txt").read_text() == "t1 t2 t3 t4 t5 t6 t7 t8 "
    first._text.close()


def test_a_viewer_that_died_before_its_first_save_starts_anew(tmp_path: Path) -> None:
    first = Notebook(tmp_path)
    first.add(records(1, 1)[0])
    first._text.flush()
    second = Notebook(tmp_path)
    assert second.position is None
    second.add(records(1, 1)[0])
    second.close()
    assert (tmp_path / "report.txt").read_text() == "t1 "
    first._text.close()


def test_gaps_and_repeats_are_not_forgotten(tmp_path: Path) -> None:
    first = Notebook(tmp_path)
    for record in (*records(1, 2), *records(2, 2), *records(5, 5)):
        first.add(record)
    first.close()
    second = Notebook(tmp_path)
    assert (second.tally.gaps, second.tally.repeats) == (2, 1)
    second.close()
