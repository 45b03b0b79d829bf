"""The v2beta routes, once under their own path and once under the path that node-graph clients use.

Knows HTTP; what a service takes is in `services`, what happens to a checked request in `door`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keelbill.api.forms import Form, read_form
from keelbill.api.platform import Platform
from keelbill.api.stability import documentation as docs
from keelbill.api.stability.answers import credits_text, job_headers, picture_answer
from keelbill.api.stability.door import Call, Door
from keelbill.api.stability.fields import Problem, Values
from keelbill.api.stability.fields import read_form as read_fields
from keelbill.api.stability.idempotency import fingerprint_of, idempotency
from keelbill.api.stability.masks import is_opaque
from keelbill.api.stability.negotiation import wants_json
from keelbill.api.stability.results import job_of, result_name
from keelbill.api.stability.services import SERVICES, Service
from keelbill.core.errors import InvalidRequest, NotInstalled
from keelbill.imaging.clean import CleanImage
from keelbill.jobs.schemas import Idempotency
from keelbill.serving.messages import ImageTask

PREFIXES = ("", "/proxy/stability")
_TREE = "/v2beta/stable-image/"
_EXAMPLE_TEXTS = {
    "prompt": "A lighthouse on a cliff at dusk, waves below",
    "search_prompt": "the cup",
    "select_prompt": "the jacket",
    "background_prompt": "a quiet library",
}

Handler = Callable[[Request], Awaitable[Response]]


def router(platform: Platform) -> APIRouter:
    """Return the v2beta routes."""
    door = Door(platform)
    routes = APIRouter(tags=["Stability v2beta"])
    for prefix in PREFIXES:
        for service in SERVICES:
            routes.add_api_route(
                prefix + _TREE + service.path,
                _service_handler(door, service),
                methods=["POST"],
                name=service.title,
                operation_id=_operation(prefix, service.path),
                summary=service.title,
                description=service.missing,
                openapi_extra=docs.service_extra(service, _example(service)),
                response_model=None,
            )
        for path in ("/v2beta/results/{id}", _TREE + "upscale/creative/result/{id}"):
            routes.add_api_route(
                prefix + path,
                _result_handler(door),
                methods=["GET"],
                operation_id=_operation(prefix, path),
                summary="Result of an asynchronous request",
                openapi_extra=docs.result_extra(),
                response_model=None,
            )
    return routes


def _operation(prefix: str, path: str) -> str:
    words = (prefix + "/" + path).replace("{id}", "").replace("-", "/").split("/")
    return "_".join(word for word in words if word)


def _example(service: Service) -> dict[str, Any]:
    return {p.name: _EXAMPLE_TEXTS[p.name] for p in service.parameters if p.name in _EXAMPLE_TEXTS}


def _service_handler(door: Door, service: Service) -> Handler:
    known = {p.name for p in service.parameters} | {p.name for p in service.pictures}

    async def handle(request: Request) -> Response:
        call = await door.receive(request, "stability")
        call.principal.require(service.scope)
        form = await read_form(request, max_bytes=door.platform.settings.max_body_bytes, known=known)
        values, pictures, named, as_json = await _read(door, service, call, form)
        if service.build is None:
            raise NotInstalled(service.missing)
        if service.is_masked and "mask" not in pictures and await asyncio.to_thread(is_opaque, pictures["image"]):
            raise InvalidRequest("mask: required, because no part of the image is transparent")
        item = service.price_item(values)
        await door.afford(call, door.price(item), named)
        await door.moderate(call, values.text("prompt"))
        task = await _with_engine(door, values, service.build(values, await door.store(pictures)))
        wanted = door.order(call, item, task, requested_model=values.text("model"), is_async=service.is_async)
        if service.is_async:
            ticket = await door.submit(call, wanted, named)
            headers = {"idempotent-replayed": "true"} if ticket.replayed else {}
            return JSONResponse({"id": result_name(call.principal, ticket.job_id)}, headers=headers)
        outcomes = await door.run(call, [wanted], named)
        return picture_answer(outcomes[0], job_headers(outcomes, door.elapsed_ms(call)), as_json=as_json)

    return handle


async def _read(
    door: Door, service: Service, call: Call, form: Form
) -> tuple[Values, dict[str, CleanImage], Idempotency | None, bool]:
    """Read everything that a request says.

    Raises:
        InvalidRequest: Something cannot be used; every problem is named.
    """
    request = call.request
    files = {name: await upload.read() for name, upload in form.files.items()}
    ignored = service.ignores(form.fields)
    counted = {name: text for name, text in form.fields.items() if name not in ignored}
    filled = {name for name, data in files.items() if data and name not in ignored}
    values, problems = read_fields(service.parameters, counted, filled)
    faulty = {problem.partition(":")[0] for problem in problems}
    if "mode" not in faulty:
        found = service.rules(values, files.keys() | form.fields.keys())
        problems += [problem for problem in found if problem.partition(":")[0] not in faulty]
    pictures, refused = await door.clean(service.pictures, files, form.fields)
    problems += refused
    named, as_json = None, True
    try:
        named = idempotency(
            request.headers.get("idempotency-key"),
            lambda: fingerprint_of(request.method, request.url.path, form.fields, files),
        )
    except Problem as problem:
        problems.append(f"idempotency-key: {problem}")
    if not service.is_async:
        try:
            as_json = wants_json(request.headers.get("accept"))
        except Problem as problem:
            problems.append(f"accept: {problem}")
    if problems:
        raise InvalidRequest(*problems)
    return values, pictures, named, as_json


async def _with_engine(door: Door, values: Values, task: ImageTask) -> ImageTask:
    """Put in the installed model that stands for the published one, with its steps and guidance."""
    engine = await door.engine(values.text("model"))
    cfg = values.number("cfg_scale")
    if cfg is None or engine.steps is not None:  # a distilled model has its guidance built in
        cfg = engine.cfg
    return msgspec.structs.replace(task, model=engine.model, steps=engine.steps, cfg=cfg)


def _result_handler(door: Door) -> Handler:
    async def poll(request: Request) -> Response:
        call = await door.receive(request, "stability")
        name = request.path_params["id"]
        try:
            as_json = wants_json(request.headers.get("accept"))
        except Problem as problem:
            raise InvalidRequest(f"accept: {problem}") from problem
        outcome = await door.platform.jobs.result(call.principal, job_of(call.principal, name), same_key=True)
        if outcome is None:
            return JSONResponse({"id": name, "status": "in-progress"}, status_code=202)
        headers = {"x-keelbill-model": outcome.model, "x-credits-charged": credits_text(outcome.charged)}
        return picture_answer(outcome, headers, as_json=as_json, polled=True)

    return poll
