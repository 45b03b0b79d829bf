"""The OpenAI-style image routes. Knows HTTP and that API's shapes; what happens to a checked request is in `door`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.caller import authorise
from keelbill.api.forms import read_form, read_json
from keelbill.api.openai import documentation as docs
from keelbill.api.openai.links import Linked, Links
from keelbill.api.openai.parameters import SHARED, model_named, painted_size
from keelbill.api.platform import Platform
from keelbill.api.stability.answers import job_headers
from keelbill.api.stability.door import Call, Door
from keelbill.api.stability.fields import Problem, Values
from keelbill.api.stability.fields import read_form as read_fields
from keelbill.api.stability.fields import read_json as read_members
from keelbill.api.stability.idempotency import fingerprint_of, idempotency
from keelbill.api.stability.masks import white_where_transparent
from keelbill.api.stability.services import Picture, PictureField, task_for
from keelbill.api.stability.sizes import EDIT_IMAGE, MASK
from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.core.principal import Principal
from keelbill.core.sizes import MEGAPIXEL, scaled_to
from keelbill.core.types import Size
from keelbill.identity.secret import load_secret
from keelbill.imaging.clean import CleanImage
from keelbill.jobs.schemas import Idempotency, Outcome
from keelbill.serving.messages import ImageTask
from keelbill.storage.published import PUBLIC_MODELS

_EDITED = (PictureField("image", EDIT_IMAGE, required=True), PictureField("mask", MASK))
_REPAINT_STRENGTH = 0.7
_MODELS_SINCE_S = 1_729_555_200
_SEEDS = 2**32 - 1

Handler = Callable[[Request], Awaitable[Response]]


def router(platform: Platform) -> APIRouter:
    """Return the OpenAI-style routes."""
    door = Door(platform)
    links = Links(load_secret(platform.settings.home))
    routes = APIRouter(tags=["OpenAI-style images"])
    for method, path, handler, extra in (
        ("POST", "/v1/images/generations", _generations(door, links), docs.generations()),
        ("POST", "/v1/images/edits", _edits(door, links), docs.edits()),
        ("GET", "/v1/images/files/{token}", _file(door, links), docs.file()),
        ("GET", "/v1/models", _models(door), docs.models()),
        ("GET", "/v1/models/{model}", _model(door), docs.model()),
    ):
        routes.add_api_route(path, handler, methods=[method], openapi_extra=extra, response_model=None)
    return routes


def _generations(door: Door, links: Links) -> Handler:
    async def generations(request: Request) -> Response:
        call = await door.receive(request, "openai")
        call.principal.require("generate")
        body = await read_json(request, max_bytes=door.platform.settings.max_body_bytes)
        if not isinstance(body, dict):
            raise InvalidRequest("body: must be a JSON object")
        values, problems = read_members(SHARED, body)
        canonical = {"body": msgspec.json.encode(body, order="deterministic").decode()}
        named = _named(call, canonical, {}, problems)
        task = task_for(values, size=painted_size(values.text("size")))
        return await _make(door, links, call, values, named, lambda stored: task, {})

    return generations


def _edits(door: Door, links: Links) -> Handler:
    async def edits(request: Request) -> Response:
        call = await door.receive(request, "openai")
        call.principal.require("edit")
        form = await read_form(request, max_bytes=door.platform.settings.max_body_bytes, repeated_files=("image[]",))
        uploads = dict(form.files)
        if several := form.lists.get("image[]"):
            uploads.setdefault("image", several[0])
        files = {field.name: await uploads[field.name].read() for field in _EDITED if field.name in uploads}
        values, problems = read_fields(SHARED, form.fields)
        pictures, refused = await door.clean(_EDITED, files, form.fields)
        problems += refused
        if "mask" in pictures and not pictures["mask"].has_alpha:
            problems.append("mask: must have a transparent part, which is painted anew")
        named = _named(call, form.fields, files, problems)
        if "mask" in pictures:
            pictures["mask"] = await asyncio.to_thread(white_where_transparent, pictures["mask"])

        def build(stored: Mapping[str, Picture]) -> ImageTask:
            image, mask = stored["image"], stored.get("mask")
            if mask or image.has_alpha:
                task = task_for(values, kind="inpaint", size=image.size, picture=image)
                return msgspec.structs.replace(task, mask=mask.ref if mask else "")
            task = task_for(values, size=scaled_to(image.size, MEGAPIXEL), picture=image)
            return msgspec.structs.replace(task, strength=_REPAINT_STRENGTH)

        return await _make(door, links, call, values, named, build, pictures)

    return edits


def _named(call: Call, texts: Mapping[str, str], files: Mapping[str, bytes], problems: list[str]) -> Idempotency | None:
    """Read the idempotency key and end a request that has problems."""
    request, named = call.request, None
    try:
        named = idempotency(
            request.headers.get("idempotency-key"),
            lambda: fingerprint_of(request.method, request.url.path, texts, files),
        )
    except Problem as problem:
        problems.append(f"idempotency-key: {problem}")
    if problems:
        raise InvalidRequest(*problems)
    return named


async def _make(
    door: Door,
    links: Links,
    call: Call,
    values: Values,
    named: Idempotency | None,
    build: Callable[[Mapping[str, Picture]], ImageTask],
    pictures: Mapping[str, CleanImage],
) -> Response:
    """Pay for the pictures, all or none, make them and answer."""
    model, count = model_named(values.text("model")), values.integer("n")
    await door.afford(call, count * door.price(model), named)
    await door.moderate(call, values.text("prompt"))
    engine = await door.engine(model)
    task = msgspec.structs.replace(
        build(await door.store(pictures)), model=engine.model, steps=engine.steps, cfg=engine.cfg
    )
    requests = [
        door.order(
            call,
            model,
            msgspec.structs.replace(task, seed=(task.seed + number) % _SEEDS),
            requested_model=values.text("model"),
        )
        for number in range(count)
    ]
    outcomes = await door.run(call, requests, named)
    as_link = values.text("response_format") == "url"
    now_ms = door.platform.clock.now_ms()
    body = {
        "created": now_ms // 1000,
        "data": [
            {"url": _address(door, call, links, outcome, now_ms)} if as_link else {"b64_json": outcome.image}
            for outcome in outcomes
        ],
        "output_format": task.output_format,
        "size": str(Size(outcomes[0].width, outcomes[0].height)),
    }
    return _json(body, job_headers(outcomes, door.elapsed_ms(call)))


def _address(door: Door, call: Call, links: Links, outcome: Outcome, now_ms: int) -> str:
    principal = call.principal
    token = links.token(Linked(outcome.job_id, principal.org_id, principal.key_id), now_ms)
    base = door.platform.settings.public_url or str(call.request.url.replace(path="", query="", fragment=""))
    return f"{base.rstrip('/')}/v1/images/files/{token}"


def _file(door: Door, links: Links) -> Handler:
    async def file(request: Request) -> Response:
        platform = door.platform
        linked = links.read(request.path_params["token"], platform.clock.now_ms())
        owner = Principal(org_id=linked.org_id, user_id="", key_id=linked.key_id, scopes=frozenset())
        outcome = await platform.jobs.result(owner, linked.job_id)
        if outcome is None:
            raise NotFound("There is no picture under this address, or its hour is over.")
        headers = {"cache-control": "private, max-age=3600", "content-disposition": "inline"}
        return Response(outcome.image, headers=headers, media_type=outcome.media_type)

    return file


def _models(door: Door) -> Handler:
    async def models(request: Request) -> Response:
        await authorise(request, door.platform)
        return _json({"object": "list", "data": [_describe(name) for name in PUBLIC_MODELS]})

    return models


def _model(door: Door) -> Handler:
    async def model(request: Request) -> Response:
        await authorise(request, door.platform)
        name = request.path_params["model"]
        if name not in PUBLIC_MODELS:
            raise NotFound(f"The model {name[:80]!r} does not exist; /v1/models lists those that do.")
        return _json(_describe(name))

    return model


def _describe(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _MODELS_SINCE_S, "owned_by": "keelbill"}


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type="application/json")
