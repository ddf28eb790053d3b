"""GET /metrics, for Prometheus and its kin (docs/metrics.md)."""

from __future__ import annotations

from aiohttp import web

from ..exposition import OPENMETRICS_TYPE, TEXT_TYPE, render
from ..metrics import families_of
from .visit import Visit


async def get_metrics(visit: Visit) -> web.Response:
    visit.check_operator()
    wants_openmetrics = "application/openmetrics-text" in (visit.header("Accept") or "")
    text = render(families_of(visit.engine), wants_openmetrics)
    said = OPENMETRICS_TYPE if wants_openmetrics else TEXT_TYPE
    return web.Response(body=text.encode(), headers={"Content-Type": said})
