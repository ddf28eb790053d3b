"""Results become a table and a page that say what happened, failures and doubts included."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from bench import table
from bench.chart import Bar, bars
from bench.report import write

MACHINE = {
    "cpu": "a core",
    "cores": 2,
    "memory_gib": 4.0,
    "kernel": "6.1",
    "python": "3.11.2",
    "fdatasync_per_s": 4_000,
}


def row(system: str, run: int, **values: Any) -> dict[str, Any]:
    return {"scenario": "sessions", "case": "batched", "system": system, "run": run, "ack_means": "on disk", **values}


ROWS = [
    row("outlast", 0, delivered_per_s=100.0, server_us_per_message=1.5, complete=True),
    row("outlast", 1, delivered_per_s=300.0, server_us_per_message=2.5, complete=True, client_bound=True),
    row("outlast", 2, delivered_per_s=200.0, server_us_per_message=2.0, complete=True, foreign_cores=0.5),
    row("peer", 0, delivered_per_s=50.0, server_us_per_message=4.0, complete=False),
    row("peer", 1, failed="TimeoutError: it hung"),
]


def test_the_table_shows_median_range_and_doubts() -> None:
    text = table.render(ROWS)
    own, peer = text.splitlines()[2:]
    assert "200 (100-300)" in own
    assert own.endswith("client-bound, noisy")
    assert peer.endswith("NOT COMPLETE, 1 failed: TimeoutError: it hung")


def test_columns_without_values_are_left_out() -> None:
    assert table.cells({"outlast": ROWS[:1]})[0] == ["system", "delivered/s", "server us/msg", "notes"]


def test_a_failed_run_has_its_line() -> None:
    assert table.line(ROWS[4]).endswith("run 1  FAILED TimeoutError: it hung")


def test_the_page_draws_and_tabulates(tmp_path: Path) -> None:
    page = write([{"when": "2026-01-01T00:00:00", "machine": MACHINE, "runs": ROWS}], tmp_path, "day")
    text = page.read_text()
    assert "* peer: on disk" in text
    assert "| outlast | 200 (100-300) |" in text
    pictures = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert len(pictures) == 2
    assert all(f"({name})" in text for name in pictures)


def test_bars_are_drawn_to_one_scale() -> None:
    picture = bars("a <title>", [Bar("own", 50, 40, 60, "50", True), Bar("peer", 100, 100, 120, "100", False)])
    rectangles = ElementTree.fromstring(picture).findall("{http://www.w3.org/2000/svg}rect")
    own, peer = (float(rectangle.attrib["width"]) for rectangle in rectangles)
    assert round(peer / own, 2) == 2
