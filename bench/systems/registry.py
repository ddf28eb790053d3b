"""Every system by name. A name is a system in one configuration."""

from __future__ import annotations

from .durable_streams import DurableStreams
from .mosquitto import Mosquitto
from .nats import Nats
from .outlast import Outlast
from .outlast_web import OutlastEvents, OutlastWebSocket
from .redis import Redis
from .socketio import SocketIo
from .system import System

_ALL: tuple[System, ...] = (
    Outlast(),
    OutlastWebSocket(),
    OutlastEvents(),
    Redis("always"),
    Redis("everysec"),
    Redis("stock"),
    Redis("pubsub"),
    Nats("always"),
    Nats("default"),
    DurableStreams(),
    Mosquitto(),
    SocketIo(),
)
SYSTEMS: dict[str, System] = {system.name: system for system in _ALL}
