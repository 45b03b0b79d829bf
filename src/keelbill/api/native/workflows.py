"""Routes that run workflows for programs: one request with the graph, one answer with the pictures. Knows HTTP only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keelbill.api.comfy.bodies import is_small
from keelbill.api.comfy.submission import check_graph
from keelbill.api.deps import Caller, CanGenerate, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL
from keelbill.api.native.job_bodies import credits_text
from keelbill.api.native.workflow_asks import read_ask
from keelbill.api.native.workflow_runs import account_of, await_end, start, submission_of
from keelbill.api.native.workflow_views import (
    EXAMPLE,
    PREFIX,
    STATES,
    WorkflowPicture,
    WorkflowPrice,
    WorkflowRun,
    error_of,
    pictures_of,
    shown_of,
    told,
    with_content,
)
from keelbill.api.visits import visit_of
from keelbill.core.errors import NotFound
from keelbill.core.principal import Principal
from keelbill.workspace.names import annotated, place_of
from keelbill.workspace.schemas import Run

if TYPE_CHECKING:
    from keelbill.api.comfy.models import ModelNames
    from keelbill.api.platform import Platform

PING_S: Final = 15
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "workflow": {
            "type": "object",
            "description": "A graph in the API format, or a workflow as the editor saves it.",
            "examples": [EXAMPLE],
        },
        "picture": {"type": "string", "description": "In place of it, a PNG or WebP that carries one, in base64."},
        "inputs": {
            "type": "object",
            "description": "Other values by `NODE.INPUT`; a node is named by its id, its title or its class.",
            "examples": [{"6.text": "a red fox in the snow", "KSampler.seed": 7}],
        },
        "files": {"type": "object", "description": "Pictures in base64, by the input that names them."},
        "mode": {"type": "string", "enum": ["sync", "async", "stream"], "default": "sync"},
        "dry_run": {"type": "boolean", "default": False, "description": "Only say what it would cost."},
        "seed": {"type": "integer", "minimum": 0, "description": "Decides among `{a|b}` groups in texts."},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _SCHEMA | {"required": ["workflow"]}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["workflow"],
                    "properties": {
                        "workflow": {
                            "type": "string",
                            "description": "JSON as text, or a file: JSON, PNG or WebP.",
                            "examples": [json.dumps(EXAMPLE)],
                        },
                        **{name: _SCHEMA["properties"][name] for name in ("inputs", "mode", "dry_run", "seed")},
                    },
                    "additionalProperties": {
                        "type": "string",
                        "description": "`NODE.INPUT`: a text is a value, a file is a picture.",
                    },
                }
            },
        },
    }
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The run with its pictures; with `accept: image/*` the first picture; a price for a dry run; "
        "Server-Sent Events for a stream.",
        "model": WorkflowRun | WorkflowPrice,
        "content": {"image/png": {}, "text/event-stream": {}},
    },
    202: {"description": "The run's id, for `async`.", "model": WorkflowRun},
}

router = APIRouter(prefix=PREFIX, tags=["Workflows"], responses=ERRORS)


@router.post("/run", responses=_ANSWERS, openapi_extra=WITH_CREDENTIAL | _BODY, response_model=None)
async def run_workflow(
    request: Request,
    caller: CanGenerate,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Run a workflow of nodes, with other values where you say so.

    The price is known before: ask for it with `dry_run`. It is taken when the run has succeeded and something was
    painted. A run that nobody waits for any more is stopped, unless the mode is `async` or `stream`.
    """
    platform = platform_of(request)
    ask = await read_ask(request, max_bytes=platform.settings.max_body_bytes)
    models: ModelNames = request.app.state.graphs.models
    submission = await submission_of(platform, models, caller, ask, visit_of(request).request_id)
    submission = replace(submission, is_small=is_small(request) and not ask.files)
    if ask.dry_run:
        checked = await check_graph(platform, models, caller, submission)
        return JSONResponse(WorkflowPrice.of(checked).model_dump())
    run, price, problems, is_replayed = await start(platform, models, caller, submission, idempotency_key)
    visit = visit_of(request)
    visit.job_id, visit.credits_micro = run.job_id, 0 if is_replayed else price
    headers = {"location": f"{PREFIX}/runs/{run.prompt_id}", "cache-control": "no-store"}
    if is_replayed:
        headers["idempotent-replayed"] = "true"
    if ask.mode == "async":
        view = await _view(platform, caller, run)
        return JSONResponse(view.model_copy(update={"left_out": problems}).model_dump(), 202, headers)
    if ask.mode == "stream":
        return EventSourceResponse(_stream(platform, caller, run), ping=PING_S, sep="\n", headers=headers)
    run = await await_end(request, platform, caller, run, is_kept=idempotency_key is not None)
    return await _answer(request, platform, caller, run, problems, headers)


@router.get("/runs/{run_id}", openapi_extra=WITH_CREDENTIAL)
async def get_workflow_run(request: Request, caller: Caller, run_id: str) -> WorkflowRun:
    """Return a run: where it is, what it put out, and why it failed."""
    platform = platform_of(request)
    return await _view(platform, caller, await platform.runs.find(account_of(caller), run_id))


@router.get(
    "/runs/{run_id}/pictures/{place}",
    openapi_extra=WITH_CREDENTIAL,
    responses={200: {"description": "The file.", "content": {"image/png": {}, "image/webp": {}}}},
)
async def get_workflow_picture(request: Request, caller: Caller, run_id: str, place: int) -> Response:
    """Return one of the files that a run put out, counted from 0."""
    platform = platform_of(request)
    pictures = pictures_of(await platform.runs.find(account_of(caller), run_id))
    if not 0 <= place < len(pictures):
        raise NotFound(f"The run has {len(pictures)} pictures, so there is none with the number {place}.")
    content, media_type = await _content(platform, caller, pictures[place])
    headers = {"cache-control": "private, no-store", "x-content-type-options": "nosniff"}
    return Response(content, headers=headers, media_type=media_type)


@router.get(
    "/runs/{run_id}/events",
    openapi_extra=WITH_CREDENTIAL,
    responses={
        200: {"description": "Server-Sent Events until the run has ended.", "content": {"text/event-stream": {}}}
    },
)
async def watch_workflow_run(request: Request, caller: Caller, run_id: str) -> Response:
    """Watch a run: `run`, `queued`, `started`, `cached`, `node`, `progress`, and its end in `succeeded` or another."""
    platform = platform_of(request)
    run = await platform.runs.find(account_of(caller), run_id)
    headers = {"cache-control": "no-store"}
    return EventSourceResponse(_stream(platform, caller, run), ping=PING_S, sep="\n", headers=headers)


# ------------------------------------------------------------ answering


async def _answer(
    request: Request, platform: Platform, caller: Principal, run: Run, problems: list[str], headers: dict[str, str]
) -> Response:
    view = await _view(platform, caller, run)
    headers |= {"x-credits-charged": view.charged}
    accept = request.headers.get("accept", "")
    if "image/" in accept and "json" not in accept and view.pictures:
        content, media_type = await _content(platform, caller, view.pictures[0])
        return Response(content, headers=headers, media_type=media_type)
    pictures = []
    for picture in view.pictures:
        pictures.append(with_content(picture, *await _content(platform, caller, picture)))
    whole = view.model_copy(update={"pictures": pictures, "left_out": problems})
    return JSONResponse(await asyncio.to_thread(whole.model_dump), headers=headers)


async def _view(platform: Platform, caller: Principal, run: Run) -> WorkflowRun:
    job = await platform.jobs.get(caller, run.job_id)
    status = "running" if run.state == "open" and job.state == "running" else STATES[run.state]
    return WorkflowRun(
        id=run.prompt_id,
        job_id=run.job_id,
        status=status,
        price=credits_text(job.price_micro),
        charged=credits_text(job.charged_micro),
        pictures=pictures_of(run),
        shown=shown_of(run),
        error=error_of(run) or (job.error_message if run.state == "failed" else ""),
    )


async def _content(platform: Platform, caller: Principal, picture: WorkflowPicture) -> tuple[bytes, str]:
    plain, area = annotated(f"{picture.filename} [{picture.type}]", "output")
    stored, content = await platform.workspace.content(account_of(caller), place_of(area, plain))
    return content, stored.media_type


async def _stream(platform: Platform, caller: Principal, run: Run) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens in a run until it has ended; the last event of a good one has its pictures."""
    first = await _view(platform, caller, run)
    yield _event("run", {"id": run.prompt_id, "job_id": run.job_id, "price": first.price})
    is_over = False
    async for kind, facts in told(platform.jobs.events(caller, run.job_id), run):
        is_over = kind in {"failed", "cancelled"}
        if is_over:
            run = await platform.runs.find(account_of(caller), run.prompt_id)
            facts |= {"message": error_of(run) or facts["message"]} if kind == "failed" else {}
        yield _event(kind, facts)
    if not is_over:
        run = await platform.runs.find(account_of(caller), run.prompt_id)
        yield _event("succeeded", (await _view(platform, caller, run)).model_dump())


def _event(kind: str, facts: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(facts), event=kind, sep="\n")
