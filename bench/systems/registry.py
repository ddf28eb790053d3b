"""Every system by name. A name is a system in one configuration."""

from __future__ import annotations

from .nats import Nats
from .outlast import Outlast
from .redis import Redis
from .system import System

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        Outlast(),
        Redis("always"),
        Redis("everysec"),
        Redis("stock"),
        Redis("pubsub"),
        Nats("always"),
        Nats("default"),
    )
}
