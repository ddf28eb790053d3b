"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from types import ModuleType

from . import batch_publish, replay, sessions

SCENARIOS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module for module in (sessions, batch_publish, replay)
}
