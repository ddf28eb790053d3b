"""Whether the broker lives, and whether it can work, for those who look after processes (docs/http.md)."""

from __future__ import annotations

from aiohttp import web

from ..engine import Engine
from .visit import Visit, dictionary_response


async def get_livez(visit: Visit) -> web.Response:
    """Whoever can answer lives."""
    return web.Response(text="ok\n")


async def get_readyz(visit: Visit) -> web.Response:
    checks = checks_of(visit.engine)
    ready = all(said == "ok" for said in checks.values())
    status = 200 if ready else 503
    if visit.flag("verbose"):
        visit.check_monitor()
        return dictionary_response({"ready": ready, "checks": checks}, status)
    return web.Response(text="ok\n" if ready else "not ready\n", status=status)


def checks_of(engine: Engine) -> dict[str, str]:
    """What must be so, and "ok" or why it is not."""
    refusal = engine.refusal
    leaving = "the broker is stopping" if engine.leaving else "ok"
    writable = "ok" if refusal is None or engine.leaving else f"{refusal.name}: {refusal.message}"
    free, reserve = engine.disk_free_bytes, engine.config.disk_reserve_bytes
    short = engine.config.data is not None and free < reserve
    disk = f"{free} bytes are free, the reserve is {reserve}" if short else "ok"
    # Nobody is let in before the journal is read back.
    return {"recovered": "ok", "disk": disk, "writable": writable, "staying": leaving}
