"""Bars as SVG, written by hand: no library, readable in light and dark, a few hundred bytes a bar."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 720
LABEL_WIDTH = 150
VALUE_WIDTH = 110
BAR_HEIGHT = 18
STEP = 28
HEAD_HEIGHT = 34

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.own { fill: #2f7d4f } .peer { fill: #8c959f } .range { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .range { stroke: #e6edf3 } .own { fill: #3fb27f } }
</style>"""


class Bar(NamedTuple):
    """`value` is drawn, `low` to `high` is the range over the runs, `text` stands behind; `own` is set off."""

    label: str
    value: float
    low: float
    high: float
    text: str
    own: bool


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from zero, in the order given."""
    longest = max((row.high for row in rows), default=0) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    height = HEAD_HEIGHT + STEP * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">',
        _STYLE,
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
        *(_bar(row, HEAD_HEIGHT + STEP * index, room / longest) for index, row in enumerate(rows)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(row: Bar, top: int, scale: float) -> str:
    middle, baseline = top + BAR_HEIGHT / 2, top + 14
    low, value, high = (LABEL_WIDTH + each * scale for each in (row.low, row.value, row.high))
    kind = "own" if row.own else "peer"
    width = value - LABEL_WIDTH
    return (
        f'<text x="{LABEL_WIDTH - 8}" y="{baseline}" text-anchor="end">{escape(row.label)}</text>'
        f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2"/>'
        f'<path class="range" d="M{low:.1f} {middle}H{high:.1f}"/>'
        f'<text x="{max(value, high) + 8:.1f}" y="{baseline}">{escape(row.text)}</text>'
    )
