"""The v1 routes: account, balance, engines and the older way to ask for pictures. Knows HTTP and v1's shapes.

What happens to a checked request is in `door`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.caller import authorise
from keelbill.api.forms import Form, read_form, read_json
from keelbill.api.platform import Platform
from keelbill.api.stability import v1_documentation as docs
from keelbill.api.stability.answers import finish_reason, job_headers, picture_answer
from keelbill.api.stability.door import Call, Door
from keelbill.api.stability.fields import Parameter, Problem, Values
from keelbill.api.stability.fields import read_form as read_fields
from keelbill.api.stability.fields import read_json as read_members
from keelbill.api.stability.idempotency import fingerprint_of, idempotency
from keelbill.api.stability.masks import inverted, is_opaque
from keelbill.api.stability.services import Picture, PictureField, random_seed
from keelbill.api.stability.sizes import EDIT_IMAGE, MASK
from keelbill.api.stability.v1_parameters import (
    IMAGE_TO_IMAGE,
    MASKING,
    MAX_V1_SEED,
    SAMPLERS,
    TEXT_TO_IMAGE,
    UPSCALE,
    V1_ENGINES,
    Prompts,
    V1Engine,
    prompts_from_form,
    prompts_from_json,
    refuse,
    repainted_size,
    strength_of,
    upscaled_size,
)
from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.core.principal import Scope
from keelbill.core.types import Size, credits_of
from keelbill.imaging.clean import CleanImage
from keelbill.jobs.schemas import Idempotency, Outcome
from keelbill.prompting.presets import apply_preset
from keelbill.serving.messages import ImageTask

_ITEM = "v1"
_INIT = (PictureField("init_image", EDIT_IMAGE, required=True),)
_MASKED = (*_INIT, PictureField("mask_image", MASK))
_UPSCALED = (PictureField("image", EDIT_IMAGE, required=True),)

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Wanted:
    """A v1 request with everything read.

    Attributes:
        values: Of its fields.
        prompts: Its texts.
        pictures: Its files.
        named: Its idempotency key, if there is one.
        as_png: Whether the answer is the bare picture.
    """

    values: Values
    prompts: Prompts
    pictures: Mapping[str, CleanImage]
    named: Idempotency | None
    as_png: bool


def router(platform: Platform) -> APIRouter:
    """Return the v1 routes."""
    door = Door(platform)
    routes = APIRouter(tags=["Stability v1"])
    generation = "/v1/generation/{engine_id}/"
    for path, handler, extra in (
        ("text-to-image", _text_to_image(door), docs.text_to_image()),
        ("image-to-image", _image_to_image(door), docs.multipart(IMAGE_TO_IMAGE, _INIT)),
        ("image-to-image/masking", _masking(door), docs.multipart(MASKING, _MASKED)),
        ("image-to-image/upscale", _upscale(door), docs.multipart(UPSCALE, _UPSCALED, prompts=False)),
    ):
        routes.add_api_route(
            generation + path, handler, methods=["POST"], openapi_extra=extra, response_model=None, summary=path
        )
    for path, handler, extra in (
        ("/v1/engines/list", _engines(door), docs.engines()),
        ("/v1/user/balance", _balance(door), docs.balance()),
        ("/v1/user/account", _account(door), docs.account()),
    ):
        routes.add_api_route(path, handler, methods=["GET"], openapi_extra=extra, response_model=None)
    return routes


def _engines(door: Door) -> Handler:
    async def list_engines(request: Request) -> Response:
        await authorise(request, door.platform)
        return _json(
            [{"id": e.id, "name": e.name, "description": e.description, "type": "PICTURE"} for e in V1_ENGINES.values()]
        )

    return list_engines


def _balance(door: Door) -> Handler:
    async def balance(request: Request) -> Response:
        platform = door.platform
        principal = await authorise(request, platform)
        principal.require("account:read")
        org_id = principal.org_id
        found = await platform.db.glance(lambda c: platform.ledger.balance(c, org_id))
        text = f"{credits_of(found.available):f}"
        return _json({"credits": msgspec.Raw((text if "." in text else text + ".0").encode())})

    return balance


def _account(door: Door) -> Handler:
    async def account(request: Request) -> Response:
        platform = door.platform
        principal = await authorise(request, platform)
        principal.require("account:read")
        profile = await platform.accounts.profile(principal)
        body: dict[str, object] = {
            "id": profile.id,
            "email": profile.email,
            "organizations": [
                {
                    "id": organization.id,
                    "name": organization.name,
                    "role": "ADMIN" if organization.role in ("owner", "admin") else "MEMBER",
                    "is_default": organization.is_default,
                }
                for organization in profile.organizations
            ],
        }
        if profile.picture_url:
            body["profile_picture"] = profile.picture_url
        return _json(body)

    return account


def _text_to_image(door: Door) -> Handler:
    async def text_to_image(request: Request) -> Response:
        call, engine = await _enter(door, request, "generate")
        body = await read_json(request, max_bytes=door.platform.settings.max_body_bytes)
        if not isinstance(body, dict):
            raise InvalidRequest("body: must be a JSON object")
        values, problems = read_members(TEXT_TO_IMAGE, body)
        prompts, found = prompts_from_json(body.get("text_prompts"))
        problems = found + problems
        size = Size(values.integer("width"), values.integer("height"))
        if not problems and (problem := engine.check_pixels(size)):
            problems.append(problem)
        canonical = {"body": msgspec.json.encode(body, order="deterministic").decode()}
        wanted = _wanted(call, values, prompts, {}, problems, canonical, {})

        def build(pictures: Mapping[str, Picture]) -> ImageTask:
            del pictures
            return ImageTask(width=size.width, height=size.height)

        return await _make(door, call, wanted, build)

    return text_to_image


def _image_to_image(door: Door) -> Handler:
    async def image_to_image(request: Request) -> Response:
        call, _ = await _enter(door, request, "generate")
        wanted = await _read_form(door, call, IMAGE_TO_IMAGE, _INIT)

        def build(pictures: Mapping[str, Picture]) -> ImageTask:
            image = pictures["init_image"]
            size = repainted_size(image.size)
            return ImageTask(image=image.ref, width=size.width, height=size.height, strength=strength_of(wanted.values))

        return await _make(door, call, wanted, build)

    return image_to_image


def _masking(door: Door) -> Handler:
    async def masking(request: Request) -> Response:
        call, _ = await _enter(door, request, "edit")
        wanted = await _read_form(door, call, MASKING, _MASKED)
        source = wanted.values.text("mask_source")
        pictures = dict(wanted.pictures)
        if source == "INIT_IMAGE_ALPHA":
            pictures.pop("mask_image", None)
            if await asyncio.to_thread(is_opaque, pictures["init_image"]):
                refuse(["mask_source: INIT_IMAGE_ALPHA needs an init_image of which a part is transparent"])
        else:
            refuse(_mask_problems(pictures))
            if source == "MASK_IMAGE_BLACK":
                pictures["mask_image"] = await asyncio.to_thread(inverted, pictures["mask_image"])
        wanted.pictures = pictures

        def build(stored: Mapping[str, Picture]) -> ImageTask:
            image, mask = stored["init_image"], stored.get("mask_image")
            return ImageTask(
                kind="inpaint",
                image=image.ref,
                mask=mask.ref if mask else "",
                width=image.size.width,
                height=image.size.height,
            )

        return await _make(door, call, wanted, build)

    return masking


def _mask_problems(pictures: Mapping[str, CleanImage]) -> list[str]:
    image, mask = pictures["init_image"], pictures.get("mask_image")
    if mask is None:
        return ["mask_image: required unless mask_source is INIT_IMAGE_ALPHA"]
    if (mask.width, mask.height) != (image.width, image.height):
        wanted = f"{image.width}x{image.height}"
        return [f"mask_image: must have the size of init_image, {wanted}, not {mask.width}x{mask.height}"]
    return []


def _upscale(door: Door) -> Handler:
    async def upscale(request: Request) -> Response:
        call, _ = await _enter(door, request, "upscale")
        wanted = await _read_form(door, call, UPSCALE, _UPSCALED, prompted=False)
        image = wanted.pictures["image"]
        size = upscaled_size(wanted.values, Size(image.width, image.height))

        def build(pictures: Mapping[str, Picture]) -> ImageTask:
            return ImageTask(kind="enlarge", image=pictures["image"].ref, width=size.width, height=size.height)

        return await _make(door, call, wanted, build)

    return upscale


async def _enter(door: Door, request: Request, scope: Scope) -> tuple[Call, V1Engine]:
    call = await door.receive(request, "v1")
    call.principal.require(scope)
    name = request.path_params["engine_id"]
    if name not in V1_ENGINES:
        raise NotFound(f"The engine {name[:80]!r} does not exist; /v1/engines/list tells those that do.")
    return call, V1_ENGINES[name]


async def _read_form(
    door: Door,
    call: Call,
    parameters: Sequence[Parameter],
    fields: Sequence[PictureField],
    *,
    prompted: bool = True,
) -> Wanted:
    form: Form = await read_form(
        call.request, max_bytes=door.platform.settings.max_body_bytes, last_wins=lambda name: True
    )
    files = {wanted.name: await form.files[wanted.name].read() for wanted in fields if wanted.name in form.files}
    values, problems = read_fields(parameters, form.fields, {name for name, file in form.files.items() if file.size})
    prompts, found = prompts_from_form(form.fields) if prompted else (Prompts(), [])
    pictures, refused = await door.clean(fields, files, form.fields)
    return _wanted(call, values, prompts, pictures, found + problems + refused, form.fields, files)


def _wanted(
    call: Call,
    values: Values,
    prompts: Prompts,
    pictures: Mapping[str, CleanImage],
    problems: list[str],
    texts: Mapping[str, str],
    files: Mapping[str, bytes],
) -> Wanted:
    request = call.request
    accept = request.headers.get("accept", "").lower()
    as_png = "image/png" in accept and "application/json" not in accept
    if as_png and values.integer("samples") > 1:
        problems.append("samples: must be 1 when the answer is image/png; ask for application/json")
    named = None
    try:
        named = idempotency(
            request.headers.get("idempotency-key"),
            lambda: fingerprint_of(request.method, request.url.path, texts, files),
        )
    except Problem as problem:
        problems.append(f"idempotency-key: {problem}")
    refuse(problems)
    return Wanted(values, prompts, pictures, named, as_png)


async def _make(
    door: Door, call: Call, wanted: Wanted, build: Callable[[Mapping[str, Picture]], ImageTask]
) -> Response:
    """Pay for the samples, all or none, make them and answer."""
    values, prompts = wanted.values, wanted.prompts
    samples, steps = values.integer("samples") or 1, values.integer("steps")
    price = door.price(_ITEM, steps or None)
    await door.afford(call, samples * price, wanted.named)
    await door.moderate(call, *prompts.positive)
    prompt, negative = apply_preset(prompts.prompt, prompts.negative_prompt, values.text("style_preset"))
    task = msgspec.structs.replace(
        build(await door.store(wanted.pictures)),
        prompt=prompt,
        negative_prompt=negative,
        recipe_prompt=prompts.prompt,
        steps=steps or None,
        cfg=values.number("cfg_scale"),
        sampler=SAMPLERS.get(values.text("sampler"), ""),
    )
    seed = values.integer("seed") or random_seed()
    engine_id = call.request.path_params["engine_id"]
    requests = [
        door.order(
            call,
            _ITEM,
            msgspec.structs.replace(task, seed=(seed + number) % (MAX_V1_SEED + 1)),
            requested_model=engine_id,
            price=price,
        )
        for number in range(samples)
    ]
    outcomes = await door.run(call, requests, wanted.named)
    headers = job_headers(outcomes, door.elapsed_ms(call))
    if wanted.as_png:
        return picture_answer(outcomes[0], headers, as_json=False)
    return _json({"artifacts": [_artifact(outcome) for outcome in outcomes]}, headers)


def _artifact(outcome: Outcome) -> dict[str, object]:
    return {"base64": outcome.image, "seed": outcome.seed, "finishReason": finish_reason(outcome)}


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type="application/json")
