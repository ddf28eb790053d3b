"""From results to a page: `python -m bench.report RESULTS.json [--name NAME]` writes Markdown and SVG beside it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .chart import Bar, bars
from .scenarios import SCENARIOS
from .table import COLUMNS, Block, Row, blocks, cells, number

OWN = "outlast"
# What a scenario is about, drawn: (key of a result, how the title says it).
PER_SECOND = ("delivered_per_s", "messages delivered per second, more is better")
COST = ("server_us_per_message", "server CPU per message in microseconds, less is better")
P99 = ("delivery_p99_ms", "p99 latency in ms, less is better")
DRAWN: dict[str, tuple[tuple[str, str], ...]] = {
    "sessions": (PER_SECOND, COST),
    "sessions_10k": (PER_SECOND, COST),
    "batch_publish": (("acked_per_s", "messages acknowledged per second, more is better"), COST),
    "replay": (PER_SECOND, COST),
    "paced": (("delivery_p50_ms", "p50 latency in ms, less is better"), P99),
    "fanout": (PER_SECOND, P99),
    "idle": (("kb_per_connection", "KB of server memory per connection, less is better"),),
    "resume": (("all_caught_up_ms", "ms until everybody has caught up, less is better"),),
}
FORMS = {key: form for _, key, form in COLUMNS}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="several are shown as one")
    parser.add_argument("--name", default="report")
    options = parser.parse_args(arguments)
    documents = [json.loads(path.read_text()) for path in options.results]
    write(documents, options.results[0].parent, options.name)
    return 0


def write(documents: Sequence[dict[str, Any]], folder: Path, name: str) -> Path:
    """Writes NAME.md and its drawings; returns the page's path."""
    page = [*head(documents[0]), *meanings([row for document in documents for row in document["runs"]])]
    shown = ""
    for scenario, case, systems in blocks(row for document in documents for row in document["runs"]):
        if scenario != shown:
            page += ["", f"## {scenario}", "", *introduction(scenario)]
            shown = scenario
        page += ["", f"### {scenario}: {case}", ""]
        for key, drawing in drawings((scenario, case, systems)):
            picture = folder / f"{name}-{slug(scenario, case, key)}.svg"
            picture.write_text(drawing)
            page += [f"![{scenario} {case}: {key}]({picture.name})", ""]
        page += markdown(cells(systems))
    path = folder / f"{name}.md"
    path.write_text("\n".join(page) + "\n")
    return path


def head(document: dict[str, Any]) -> list[str]:
    machine = document["machine"]
    return [
        "# Results",
        "",
        f"{document['when'][:10]}; {machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}; the disk takes {machine['fdatasync_per_s']:,} "
        "synced appends of 4 KiB per second.",
        "Median (min-max) over the runs. How it is measured: [the bench](../README.md).",
        "",
        "* `noisy`: others used more than 0.15 core meanwhile: throughput and tails look worse than they are.",
        "* `client-bound`: the load used more than 90 % of its core, so the server could do more.",
        "* `NOT COMPLETE`: not everything sent was acknowledged and delivered in time.",
    ]


def meanings(rows: Sequence[Row]) -> list[str]:
    """What each system's ack means: figures of different meanings are not rivals."""
    lines = ["", "When a publisher is told that its message was accepted, the message is", ""]
    lines += [f"* {system}: {ack}" for system, ack in {row["system"]: row["ack_means"] for row in rows}.items()]
    return lines


def introduction(scenario: str) -> list[str]:
    """The scenario's own words."""
    text = (SCENARIOS[scenario].__doc__ or "").strip()
    for word in ("Measures:", "Good:", "Near:"):
        text = text.replace(f"\n{word}", f"\n\n**{word}**")
    return text.splitlines()


def drawings(block: Block) -> list[tuple[str, str]]:
    scenario, case, systems = block
    found = []
    for key, title in DRAWN.get(scenario, ()):
        rows = [bar for system, runs in systems.items() if (bar := _bar(system, runs, key))]
        if len(rows) > 1:
            found.append((key, bars(f"{scenario}, {case}: {title}", rows)))
    return found


def _bar(system: str, runs: Sequence[Row], key: str) -> Bar | None:
    form = FORMS[key]
    values = [row[key] for row in runs if number(row.get(key), form) != "-"]
    if not values:
        return None
    middle = median(values)
    return Bar(system, middle, min(values), max(values), format(middle, form), system == OWN)


def slug(*words: str) -> str:
    text = "-".join(words).lower()
    return "".join(letter if letter.isalnum() else "-" for letter in text.replace(",", ""))


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    first, *rest = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines]
    return [first, "|---" * len(lines[0]) + "|", *rest]


if __name__ == "__main__":
    sys.exit(main())
