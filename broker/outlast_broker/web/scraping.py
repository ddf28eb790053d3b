"""GET /metrics, for Prometheus and its kin (docs/metrics.md)."""

from __future__ import annotations

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from ..metering.metrics import registry_of
from .visit import Visit


async def get_metrics(visit: Visit) -> web.Response:
    visit.check_monitor()
    encode, content_type = choose_encoder(visit.header("Accept") or "")
    return web.Response(body=encode(registry_of(visit.engine)), headers={"Content-Type": content_type})
