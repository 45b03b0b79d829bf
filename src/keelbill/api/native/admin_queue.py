"""Routes for the server's administrators: the queue, the workers, and whether all is well. Knows HTTP, no rules."""

from __future__ import annotations

import asyncio
import shutil
from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill import __version__
from keelbill.api.deps import Staff, actor_of, platform_of
from keelbill.api.health import Health
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.core.errors import NotFound
from keelbill.ledger import audit
from keelbill.serving.gateway import ActiveJob

MOST_SHOWN = 500

router = APIRouter(prefix="/api/admin", tags=["Administration"], route_class=JsonRoute, responses=ERRORS)


class ActiveJobView(View):
    """A job that waits or runs. Prompts are not shown to administrators."""

    id: str
    org_id: str
    kind: str
    model: str
    width: int
    height: int
    is_running: bool
    worker: str
    age_ms: int
    cost_ms: int = Field(description="What it should take a worker.")

    @classmethod
    def of(cls, job: ActiveJob) -> ActiveJobView:
        """Return a job as JSON."""
        task = job.spec.task
        return cls(
            id=job.spec.job_id,
            org_id=job.spec.org_id,
            kind=task.kind,
            model=task.model,
            width=task.width,
            height=task.height,
            is_running=job.is_running,
            worker=job.worker,
            age_ms=round(job.age_ms),
            cost_ms=round(job.spec.cost_ms),
        )


class QueueView(View):
    """What runs, and what waits in the order in which it would begin."""

    is_paused: bool
    running: int
    waiting: int
    wait_ms: int = Field(description="Worker time of all that waits.")
    jobs: list[ActiveJobView] = Field(description="At most 500.")


class Pause(Body):
    """Whether jobs begin."""

    is_paused: bool


class Move(Body):
    """Where to."""

    to: Literal["front", "back"] = Field(description="The next of all, or the last of its account.")


class WorkerView(View):
    """A worker."""

    name: str
    device: str
    models: list[str] = Field(description="In memory.")
    running: list[str] = Field(description="Ids of its jobs.")
    free_slots: int
    is_ready: bool
    memory_bytes: int = Field(description="Of its process, 0 if unknown.")
    accelerator_bytes: int = Field(description="That it reserved on its accelerator, 0 if it has none.")


class BooksView(View):
    """The last check of the ledger."""

    checked_ms: int
    mismatches: int
    first: list[str]


class HealthView(View):
    """Whether all is well, and what somebody should look at."""

    status: str = Field(description="ok, degraded or failing.")
    failing: list[str]
    degraded: list[str]
    version: str
    started_ms: int
    database: str = Field(description="sqlite or postgresql.")
    disk_free_bytes: int
    disk_total_bytes: int
    books: BooksView | None = Field(description="Nothing before the first check.")
    settings: dict[str, bool | str] = Field(description="What is switched on, without secrets.")


@router.get("/queue", openapi_extra=WITH_CREDENTIAL)
async def get_queue(request: Request, caller: Staff) -> QueueView:
    """Show what runs and what waits. For administrators of the server."""
    gateway = platform_of(request).gateway
    jobs = gateway.jobs()
    running = sum(job.is_running for job in jobs)
    return QueueView(
        is_paused=gateway.is_paused,
        running=running,
        waiting=len(jobs) - running,
        wait_ms=round(gateway.queue.total_ms),
        jobs=[ActiveJobView.of(job) for job in jobs[:MOST_SHOWN]],
    )


@router.put("/queue/pause", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def pause_queue(request: Request, caller: Staff, body: Pause) -> None:
    """Begin no more jobs, or begin them again. What runs finishes; a restart of the server ends the pause."""
    platform, actor = platform_of(request), actor_of(request, caller)
    action = "queue.pause" if body.is_paused else "queue.resume"
    await platform.db.write(lambda c: platform.accounts.audit.add(c, actor, action, ""))
    if body.is_paused:
        platform.gateway.pause()
    else:
        platform.gateway.resume()


@router.post("/queue/{job_id}/move", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def move_job(request: Request, caller: Staff, job_id: str, body: Move) -> None:
    """Let a waiting job be the next of all, or the last of its account."""
    if not platform_of(request).gateway.move(job_id, body.to):
        raise NotFound("job_id: this job does not wait any more.")


@router.delete("/queue/{job_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def cancel_any_job(request: Request, caller: Staff, job_id: str) -> None:
    """Cancel anybody's job; its price is given back."""
    platform, actor = platform_of(request), actor_of(request, caller)
    if not platform.gateway.cancel(job_id, "An administrator of the server cancelled it."):
        raise NotFound("job_id: this job neither waits nor runs.")
    await platform.db.write(lambda c: platform.accounts.audit.add(c, actor, "job.cancel", job_id))


@router.get("/workers", openapi_extra=WITH_CREDENTIAL)
async def list_workers(request: Request, caller: Staff) -> list[WorkerView]:
    """List workers with what they do and what they use. For administrators of the server."""
    return [
        WorkerView(
            name=worker.name,
            device=worker.device,
            models=[*worker.models],
            running=[*worker.running],
            free_slots=worker.slots,
            is_ready=worker.ready,
            memory_bytes=worker.memory_bytes,
            accelerator_bytes=worker.accelerator_bytes,
        )
        for worker in platform_of(request).gateway.workers()
    ]


@router.get("/health", openapi_extra=WITH_CREDENTIAL)
async def get_health(request: Request, caller: Staff) -> HealthView:
    """Say whether all is well. For administrators of the server."""
    platform = platform_of(request)
    readiness = await Health(platform).readiness()
    disk = await asyncio.to_thread(shutil.disk_usage, platform.settings.home)
    books = await platform.db.read(audit.last)
    settings = platform.settings
    return HealthView(
        status=readiness.status,
        failing=[*readiness.failing],
        degraded=[*readiness.degraded],
        version=__version__,
        started_ms=platform.started_ms,
        database=platform.db.engine.dialect.name,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        books=BooksView(checked_ms=books[0], mismatches=books[1], first=books[2]) if books else None,
        settings={
            "model": settings.model,
            "billing": settings.billing,
            "open_registration": settings.open_registration,
            "moderation": settings.moderation == "on",
            "mail": bool(settings.smtp_url),
            "cards": platform.cashier is not None,
            "webhooks": settings.webhooks,
            "public_url": platform.accounts.rules.base_url,
        },
    )
