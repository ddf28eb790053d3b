"""What came out of a scenario, as numbers, a line of the table, and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# With less of its core to itself than this leaves, the process that measures is what is measured.
CLIENT_BOUND_SHARE = 0.9
_COLUMNS = (
    ("scenario", 8), ("messages/s", 12), ("p50 ms", 9), ("p99 ms", 9), ("p99.9 ms", 10),
    ("ack p50", 9), ("ack p99", 9), ("own CPU", 9),
)  # fmt: skip


class Spread(NamedTuple):
    """Latencies in ms; None where there are too few samples to tell."""

    samples: int
    p50: float | None
    p99: float | None
    p99_9: float | None


def percentile(ordered: Sequence[float], permille: int) -> float | None:
    """The least of `ordered` that so many permille do not exceed; None when none would lie beyond it."""
    if len(ordered) * (1000 - permille) < 1000:
        return None
    return ordered[-(-len(ordered) * permille // 1000) - 1]


def spread(latencies_s: Iterable[float]) -> Spread:
    ordered_ms = sorted(latency_s * 1000 for latency_s in latencies_s)
    return Spread(len(ordered_ms), *(percentile(ordered_ms, permille) for permille in (500, 990, 999)))


class Found(NamedTuple):
    """What a scenario measured: the time that its messages took, and CPU time of this process within it."""

    elapsed_s: float
    cpu_s: float
    delivery: Spread | None = None
    ack: Spread | None = None
    note: str = ""


class Row(NamedTuple):
    """One scenario's outcome; `found` is None when it was given up."""

    scenario: str
    sent: int
    acked: int
    delivered: int
    found: Found | None
    note: str = ""

    @property
    def is_complete(self) -> bool:
        return self.found is not None and 0 < self.sent == self.acked == self.delivered

    @property
    def messages_per_s(self) -> float | None:
        return self.delivered / self.found.elapsed_s if self.found and self.found.elapsed_s else None

    @property
    def cpu_share(self) -> float | None:
        """Of one core."""
        return self.found.cpu_s / self.found.elapsed_s if self.found and self.found.elapsed_s else None

    @property
    def is_client_bound(self) -> bool:
        return self.cpu_share is not None and self.cpu_share > CLIENT_BOUND_SHARE


def notes(row: Row) -> list[str]:
    counts = f"NOT COMPLETE: sent {row.sent:,}, acked {row.acked:,}, delivered {row.delivered:,}"
    said = {
        counts: not row.is_complete,
        "client-bound": row.is_client_bound,
        row.found.note if row.found else "": True,
        row.note: True,
    }
    return [text for text, holds in said.items() if text and holds]


def head() -> str:
    return _line([name for name, _ in _COLUMNS])


def line(row: Row) -> str:
    delivery, ack = _spreads(row)
    cells = [
        row.scenario,
        _cell(row.messages_per_s, ",.0f"),
        *(_cell(value, ".2f") for value in (delivery.p50, delivery.p99, delivery.p99_9, ack.p50, ack.p99)),
        _cell(row.cpu_share, ".0%"),
    ]
    return f"{_line(cells)}  {'; '.join(notes(row))}".rstrip()


def _spreads(row: Row) -> tuple[Spread, Spread]:
    nothing = Spread(0, None, None, None)
    found = row.found or Found(0, 0)
    return found.delivery or nothing, found.ack or nothing


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(cells: Sequence[str]) -> str:
    first, *others = zip(cells, (width for _, width in _COLUMNS), strict=True)
    return first[0].ljust(first[1]) + "".join(text.rjust(width) for text, width in others)


def fields(row: Row) -> dict[str, Any]:
    """For JSON. What was not measured is null."""
    delivery, ack = _spreads(row)
    return {
        "scenario": row.scenario,
        "complete": row.is_complete,
        "sent": row.sent,
        "acked": row.acked,
        "delivered": row.delivered,
        "elapsed_s": _rounded(row.found.elapsed_s if row.found else None),
        "messages_per_s": _rounded(row.messages_per_s),
        "delivery_ms": _spread_fields(delivery),
        "ack_ms": _spread_fields(ack),
        "own_cpu_cores": _rounded(row.cpu_share),
        "client_bound": row.is_client_bound,
        "notes": notes(row),
    }


def _spread_fields(found: Spread) -> dict[str, float | None] | None:
    if not found.samples:
        return None
    return {"samples": found.samples, **{key: _rounded(value) for key, value in list(found._asdict().items())[1:]}}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
