"""Every system by name. A name is a system in one configuration."""

from __future__ import annotations

from .outlast import Outlast
from .system import System

SYSTEMS: dict[str, System] = {system.name: system for system in (Outlast(),)}
