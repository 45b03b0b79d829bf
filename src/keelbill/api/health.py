"""Answers monitors: is the process alive, can it take work, has it started; and what the queue looks like now.

Knows no accounts. The metrics are for this machine and for whoever holds the operator's token.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from keelbill import __version__
from keelbill.api.gauges import Gauges
from keelbill.core.errors import AppError, NotFound

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

MAX_LAG_S = 1.0
"""A commit that takes longer means that the database is not fit for work."""

KEEP_S = 0.5
"""An answer about readiness is given again for so long, so that a monitor cannot load the database."""


@dataclass(frozen=True)
class Readiness:
    """Whether the server can take work.

    Attributes:
        failing: Parts that keep it from working: ``starting``, ``draining``, ``database``, ``disk``.
        degraded: What somebody should look at while work goes on: ``workers`` (none is ready; jobs wait), ``ledger``
            (the last check found that the books do not agree).
    """

    failing: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``ok``, ``degraded`` or ``failing``."""
        return "failing" if self.failing else "degraded" if self.degraded else "ok"


class Health:
    """Looks at the parts of a platform.

    Args:
        platform: Whose parts.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._asked_s = -KEEP_S
        self._known = Readiness()
        self._lock = asyncio.Lock()

    async def readiness(self) -> Readiness:
        """Return what fails right now."""
        if self._platform.is_draining:
            return Readiness(("draining",))
        async with self._lock:
            now_s = self._platform.clock.monotonic_s()
            if now_s - self._asked_s >= KEEP_S or not self._platform.is_started:
                self._known = await self._look()
                self._asked_s = now_s
            return self._known

    async def _look(self) -> Readiness:
        platform = self._platform
        if not platform.is_started:
            return Readiness(("starting",))
        failing = []
        if not await self._database_writes():
            failing.append("database")
        if not await asyncio.to_thread(platform.blobs.has_space):
            failing.append("disk")
        has_workers = any(worker.ready for worker in platform.gateway.workers())
        degraded = [] if has_workers else ["workers"]
        if platform.mismatches:
            degraded.append("ledger")
        return Readiness(tuple(failing), tuple(degraded))

    async def _database_writes(self) -> bool:
        try:
            async with asyncio.timeout(MAX_LAG_S):
                await self._platform.db.write(self._platform.book.leases.seen)
        except (AppError, TimeoutError):
            return False
        return True


def router(platform: Platform) -> APIRouter:
    """Return the routes for monitors."""
    routes = APIRouter(tags=["operation"])
    health, gauges = Health(platform), Gauges(platform)

    @routes.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        """Answer without looking at anything else."""
        return {"status": "ok", "version": __version__}

    @routes.get("/readyz", summary="Can the server take work?", responses={503: {"description": "It cannot."}})
    async def readyz() -> Response:
        """Name the parts that fail."""
        found = await health.readiness()
        body = {"status": found.status, "failing": list(found.failing), "degraded": list(found.degraded)}
        return JSONResponse(body, 503 if found.failing else 200)

    @routes.get("/startupz", summary="Has the server started?", responses={503: {"description": "Not yet."}})
    async def startupz() -> Response:
        """Say whether migrations and recovery are done."""
        started = platform.is_started
        return JSONResponse({"status": "ok" if started else "starting"}, 200 if started else 503)

    @routes.get("/api/status", summary="How long is the queue?")
    async def status() -> dict[str, Any]:
        """Say what anybody may know of the queue."""
        snapshot = platform.gateway.snapshot()
        return {
            "version": __version__,
            "queue": {
                "jobs": sum(snapshot.queued.values()),
                "running": sum(snapshot.running.values()),
                "wait_s": round(snapshot.queue_ms / 1000, 1),
            },
            "workers": sum(worker.ready for worker in snapshot.workers),
            "draining": platform.is_draining,
        }

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=PlainTextResponse,
        responses={404: {"description": "Not for you."}},
    )
    async def metrics(request: Request) -> Response:
        """Answer this machine, and elsewhere only who sends the operator's token."""
        if not may_see_metrics(request, platform.settings.operator_token, platform.settings.trust_proxy):
            raise NotFound("path: there is nothing at this address.")
        await gauges.update()
        return Response(platform.telemetry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def may_see_metrics(request: Request, token: str, trust_proxy: bool) -> bool:
    """Whether a request comes from this machine itself or carries the operator's token.

    A request that a proxy passed on does not come from this machine, although its connection does.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return True
    passed_on = not trust_proxy and any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via"))
    return not passed_on and request.client is not None and _is_this_machine(request.client.host)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == ""
