"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from types import ModuleType

from . import (
    attach,
    batch_publish,
    cursors,
    events,
    fanout,
    folding,
    growing,
    growth,
    idle,
    paced,
    replay,
    resume,
    scraped,
    sessions,
    sessions_10k,
    stalled,
    startup,
    storm,
    trimmed,
)  # fmt: skip

SCENARIOS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        sessions,
        sessions_10k,
        batch_publish,
        replay,
        paced,
        scraped,
        fanout,
        events,
        idle,
        startup,
        storm,
        resume,
        stalled,
        growth,
        trimmed,
        cursors,
        growing,
        attach,
        folding,
    )  # fmt: skip
}
