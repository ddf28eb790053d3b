"""Results as text: one line per run, and a table of medians."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]

COLUMNS = (
    ("delivered/s", "delivered_per_s", ",.0f"),
    ("acked/s", "acked_per_s", ",.0f"),
    ("server us/msg", "server_us_per_message", ".2f"),
    ("server cores", "server_cores", ".2f"),
    ("client cores", "client_cores", ".2f"),
    ("p50 ms", "delivery_p50_ms", ".2f"),
    ("p99 ms", "delivery_p99_ms", ".2f"),
    ("p99.9 ms", "delivery_p999_ms", ".2f"),
    ("ack p50 ms", "ack_p50_ms", ".2f"),
    ("ack p99 ms", "ack_p99_ms", ".2f"),
    ("quiet p50 ms", "quiet_p50_ms", ".2f"),
    ("quiet p99 ms", "quiet_p99_ms", ".2f"),
    ("caught up p50 ms", "caught_up_p50_ms", ".0f"),
    ("all caught up ms", "all_caught_up_ms", ".0f"),
    ("return p50 ms", "return_p50_ms", ".0f"),
    ("all back ms", "all_back_ms", ".0f"),
    ("server us/client", "server_us_per_client", ".0f"),
    ("connects/s", "connects_per_s", ",.0f"),
    ("KB/connection", "kb_per_connection", ".2f"),
    ("attach p50 ms", "attach_p50_ms", ".2f"),
    ("attach p99 ms", "attach_p99_ms", ".2f"),
    ("open ms", "open_ms", ".0f"),
    ("first answer ms", "first_answer_ms", ".0f"),
    ("text KB", "text_kb", ",.0f"),
    ("appended KB", "appended_kb", ",.0f"),
    ("folded KB", "folded_kb", ",.0f"),
    ("history ms", "history_ms", ".1f"),
    ("folded history ms", "folded_history_ms", ".1f"),
    ("disk MB/s", "disk_mb_per_s", ".1f"),
    ("disk MB", "disk_mb", ",.0f"),
    ("grown %", "grown_percent", ".1f"),
    ("RSS MB", "rss_mb", ".0f"),
)


def line(row: Row) -> str:
    head = f"{row['scenario']:14} {row['case']:16} {row['system']:18} run {row['run']}"
    if "failed" in row:
        return f"{head}  FAILED {row['failed']}"
    parts = [f"{title} {number(row.get(key), form)}" for title, key, form in COLUMNS if _shown(row.get(key))]
    return "  ".join([head, *parts, *flags(row)])


def number(value: Any, form: str) -> str:
    return "-" if value is None or (isinstance(value, float) and math.isnan(value)) else format(value, form)


def flags(row: Row) -> list[str]:
    """What a reader of the figures must know before believing them."""
    found = []
    if row.get("client_bound"):
        found.append("client-bound")
    if row.get("foreign_cores", 0) > 0.15:
        found.append(f"noisy({row['foreign_cores']:.2f})")
    if row.get("complete") is False:
        found.append("NOT COMPLETE")
    return found


Block = tuple[str, str, dict[str, list[Row]]]


def blocks(rows: Iterable[Row]) -> list[Block]:
    """(scenario, case, runs by system), in the order in which they came."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault((row["scenario"], row["case"]), {}).setdefault(row["system"], []).append(row)
    return [(scenario, case, systems) for (scenario, case), systems in found.items()]


def render(rows: Iterable[Row]) -> str:
    """A table per scenario and case."""
    return "\n\n".join(f"{scenario}: {case}\n{align(cells(systems))}" for scenario, case, systems in blocks(rows))


def cells(systems: dict[str, list[Row]]) -> list[list[str]]:
    """A head, then a line per system: median (min-max) over its runs. Columns that say nothing are left out."""
    rows = [row for runs in systems.values() for row in runs]
    columns = [column for column in COLUMNS if any(_shown(row.get(column[1])) for row in rows)]
    lines = [["system", *(title for title, _, _ in columns), "notes"]]
    for system, runs in systems.items():
        lines.append([system, *(spread([row.get(key) for row in runs], form) for _, key, form in columns), notes(runs)])
    return lines


def _shown(value: Any) -> bool:
    return number(value, "") not in ("-", "0.0", "0")


def spread(values: Sequence[Any], form: str) -> str:
    """`median (min-max)`; one value stands alone."""
    there = [value for value in values if number(value, form) != "-"]
    if not there:
        return "-"
    middle = format(median(there), form)
    return middle if len(there) == 1 else f"{middle} ({min(there):{form}}-{max(there):{form}})"


def notes(runs: Sequence[Row]) -> str:
    """Flags of all runs, and how many failed."""
    found = {flag.partition("(")[0]: None for row in runs for flag in flags(row)}
    failed = [row["failed"] for row in runs if "failed" in row]
    return ", ".join([*found, *(f"{len(failed)} failed: {text[:60]}" for text in failed[:1])])


def align(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in lines) for index in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines
    )
