"""Routes for jobs: submitted, watched while they run, fetched, cancelled. Knows HTTP and what an engine takes.

Other than the compatible routes, these take every parameter of the engine and answer at once with the job's id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import Caller, CanGenerate, CanReadHistory, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute
from keelbill.api.native.job_bodies import CancelledJob, JobPage, JobView, NewJob, SubmittedJob
from keelbill.api.native.sources import Source, find_source
from keelbill.api.platform import Platform
from keelbill.api.stability.answers import job_headers, picture_answer
from keelbill.api.stability.idempotency import fingerprint_of
from keelbill.api.text import clean_text
from keelbill.api.visits import visit_of
from keelbill.core.errors import UnknownModel
from keelbill.core.sizes import scaled_to
from keelbill.core.types import Micro, random_seed
from keelbill.jobs.schemas import Idempotency, ImageRequest, State
from keelbill.prompting.presets import apply_preset
from keelbill.serving.messages import Event, ImageTask, Succeeded
from keelbill.storage.hub import Hub, Kind
from keelbill.storage.published import PUBLIC_MODELS, Engine, engine_for

PING_S: Final = 15
MEGAPIXEL: Final = 2**20
STEPS_INCLUDED: Final = 50
INSTALLED_FOR_S: Final = 10.0
OWN_MODEL_ITEM: Final = "sd3.5-medium"
"""What a model costs that is asked for by its own name, which no price list knows."""

UNFILTERED: Final = 1.01
_PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture; with `accept: application/json`, in base64 inside an object.",
        "content": {kind: {} for kind in ("image/png", "image/jpeg", "image/webp", "application/json")},
    },
    202: {"description": "Not yet done."},
}
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Server-Sent Events until the job has ended.", "content": {"text/event-stream": {}}}
}

router = APIRouter(prefix="/api/jobs", tags=["Jobs"], route_class=JsonRoute, responses=ERRORS)


@router.post("", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def submit_job(
    request: Request,
    response: Response,
    caller: CanGenerate,
    body: NewJob,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> SubmittedJob:
    """Ask for a picture. The price is reserved now and taken when the picture is there.

    A picture of more than 1,048,576 pixels or with more than 50 steps costs more, in proportion.
    """
    platform = platform_of(request)
    prompt = clean_text("prompt", body.prompt, min_chars=1)
    negative = clean_text("negative_prompt", body.negative_prompt)
    engine = await engine_of(request, body.model)
    source = await find_source(platform, caller, "image_id", body.image_id) if body.image_id else None
    await platform.moderation.check_prompt(caller, prompt, request_id=visit_of(request).request_id)
    price = _price(platform, body)
    asked = ImageRequest(
        service=body.model if body.model in PUBLIC_MODELS else OWN_MODEL_ITEM,
        task=_task(platform, body, prompt, negative, engine, source),
        front="native",
        route="/api/jobs",
        requested_model=body.model,
        request_id=visit_of(request).request_id,
        price=price,
        deadline_s=platform.settings.request_deadline_s,
        is_async=True,
    )
    ticket = await platform.jobs.submit(caller, asked, idempotency(idempotency_key, "/api/jobs", body))
    visit = visit_of(request)
    visit.job_id = ticket.job_id
    visit.credits_micro = 0 if ticket.replayed else price
    if ticket.replayed:
        response.headers["idempotent-replayed"] = "true"
    response.headers["location"] = f"/api/jobs/{ticket.job_id}"
    return SubmittedJob(id=ticket.job_id)


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_jobs(
    request: Request,
    caller: CanReadHistory,
    state: Annotated[list[State] | None, Query(max_length=5)] = None,
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> JobPage:
    """List the account's jobs, newest first."""
    platform = platform_of(request)
    jobs = await platform.jobs.list(caller, states=state or (), before_id=before, limit=limit)
    views = [JobView.of(job, platform.gateway.position(job.id)) for job in jobs]
    return JobPage(jobs=views, next_before=jobs[-1].id if len(jobs) == limit else "")


@router.get("/{job_id}", openapi_extra=WITH_CREDENTIAL)
async def get_job(request: Request, caller: Caller, job_id: str) -> JobView:
    """Return one job, with its place in the queue while it waits."""
    platform = platform_of(request)
    job = await platform.jobs.get(caller, job_id)
    return JobView.of(job, platform.gateway.position(job.id))


@router.delete("/{job_id}", openapi_extra=WITH_CREDENTIAL)
async def cancel_job(request: Request, caller: CanGenerate, job_id: str) -> CancelledJob:
    """Cancel a job: at once if it waits, at its next step if it runs. A cancelled job costs nothing."""
    return CancelledJob(cancelled=await platform_of(request).jobs.cancel(caller, job_id))


@router.get("/{job_id}/result", responses=_PICTURE, openapi_extra=WITH_CREDENTIAL)
@router.get("/{job_id}/image", responses=_PICTURE, openapi_extra=WITH_CREDENTIAL, operation_id="get_job_image")
async def get_job_result(request: Request, caller: Caller, job_id: str) -> Response:
    """Return the picture of a job that ended within the last 24 hours; later, look in the gallery."""
    outcome = await platform_of(request).jobs.result(caller, job_id)
    if outcome is None:
        content = json.dumps({"id": job_id, "status": "in-progress"})
        return Response(content, 202, {"retry-after": "1"}, media_type="application/json")
    headers = job_headers([outcome], 0.0) | {"cache-control": "private, no-store", "content-disposition": "inline"}
    headers.pop("x-gateway-overhead-ms", None)
    as_json = "application/json" in request.headers.get("accept", "")
    return picture_answer(outcome, headers, as_json=as_json, polled=True)


@router.get("/{job_id}/events", responses=_EVENTS, openapi_extra=WITH_CREDENTIAL)
async def watch_job(
    request: Request,
    caller: Caller,
    job_id: str,
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Watch a job: `queued`, `started`, `progress`, `retrying`, and last `succeeded`, `failed` or `cancelled`.

    The last thing that was said is said again to whoever comes (back), so nothing that matters is missed.
    """
    jobs = platform_of(request).jobs
    await jobs.get(caller, job_id)  # a stranger's id is a 404, not an empty stream
    first = int(last_event_id) + 1 if last_event_id.isascii() and last_event_id.isdecimal() else 1
    events = _told(jobs.events(caller, job_id), min(first, 2**53))
    return EventSourceResponse(events, ping=PING_S, sep="\n", headers={"cache-control": "no-store"})


async def _told(events: AsyncIterator[Event], number: int) -> AsyncIterator[ServerSentEvent]:
    async for event in events:
        shown = msgspec.structs.replace(event, image=b"") if isinstance(event, Succeeded) else event
        facts = msgspec.to_builtins(shown)
        kind = facts.pop("type")
        facts.pop("image", None)
        facts.pop("thumb", None)
        yield ServerSentEvent(json.dumps(facts), event=kind, id=str(number), sep="\n")
        number += 1


async def engine_of(request: Request, model: str) -> Engine:
    """Choose the installed model that answers to a name.

    Raises:
        UnknownModel: None does.
    """
    platform, installed = platform_of(request), await installed_models(request)
    public = PUBLIC_MODELS.get(model)
    if public is not None:
        return engine_for(public, installed=installed, default=platform.settings.model)
    if model not in installed:
        raise UnknownModel("model", model, {*installed, *PUBLIC_MODELS})
    return Engine(model)


async def installed_models(request: Request) -> frozenset[str]:
    """Return the names of installed models, as they were at most ten seconds ago."""
    state, platform = request.app.state, platform_of(request)
    until_s, names = getattr(state, "installed_models", (-1.0, frozenset[str]()))
    if platform.clock.monotonic_s() < until_s:
        return frozenset(names)
    hub = Hub.from_settings(platform.settings)
    found = frozenset(item.name for item in await asyncio.to_thread(hub.list, Kind.MODEL))
    state.installed_models = (platform.clock.monotonic_s() + INSTALLED_FOR_S, found)
    return found


def _task(
    platform: Platform, body: NewJob, prompt: str, negative: str, engine: Engine, source: Source | None
) -> ImageTask:
    styled, avoided = apply_preset(prompt, negative, body.style_preset)
    width, height = _size(body, source)
    settings = platform.settings
    return ImageTask(
        model=engine.model,
        prompt=styled,
        negative_prompt=avoided,
        width=width,
        height=height,
        seed=body.seed or random_seed(),
        steps=body.steps if body.steps is not None else engine.steps,
        cfg=body.cfg_scale if body.cfg_scale is not None else engine.cfg,
        sampler=body.sampler or "",
        schedule=body.schedule or "",
        image=source.ref if source else "",
        strength=body.strength if source else 1.0,
        output_format=body.output_format,
        recipe_prompt=prompt,
        previews=body.previews,
        filter_above=settings.filter_above if settings.moderation == "on" else UNFILTERED,
    )


def _size(body: NewJob, source: Source | None) -> tuple[int, int]:
    """Return the size that is asked for; without one, about a megapixel in the shape of the picture to start from."""
    if source is None or body.width is not None or body.aspect_ratio is not None:
        return body.size()
    size = scaled_to(source.size, MEGAPIXEL)
    return size.width, size.height


def _price(platform: Platform, body: NewJob) -> Micro:
    """Return the list price, and more in proportion for what the list price does not include."""
    item = body.model if body.model in PUBLIC_MODELS else OWN_MODEL_ITEM
    width, height = body.size()
    pixels, steps = max(width * height, MEGAPIXEL), max(body.steps or 0, STEPS_INCLUDED)
    if body.width is None:  # the published sizes are "about a megapixel" and cost the list price
        pixels = MEGAPIXEL
    whole = platform.ledger.prices.price(item) * pixels * steps
    return Micro(-(-whole // (MEGAPIXEL * STEPS_INCLUDED)))


def idempotency(key: str | None, path: str, body: Body) -> Idempotency | None:
    """Return the client's own name for a request, bound to what it asks for; nothing without a name."""
    if key is None:
        return None
    values = {"body": json.dumps(body.model_dump(), sort_keys=True)}
    return Idempotency(key, fingerprint_of("POST", path, values, {}))
