"""The route that changes a part of a picture: paints anew what a mask shows, takes it away, or adds a margin.

Knows HTTP and what an engine takes; pictures are named by id, never sent along.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from fastapi import APIRouter, Header
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanGenerate, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute
from keelbill.api.native.job_bodies import MAX_STEPS, SubmittedJob
from keelbill.api.native.jobs import STEPS_INCLUDED, UNFILTERED, engine_of, idempotency
from keelbill.api.native.sources import Source, find_source
from keelbill.api.platform import Platform
from keelbill.api.stability.sizes import MOST_PIXELS
from keelbill.api.text import clean_text
from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest
from keelbill.core.types import MAX_SEED, Micro, Size, random_seed
from keelbill.jobs.schemas import ImageRequest
from keelbill.prompting.presets import PRESETS, apply_preset
from keelbill.serving.messages import ImageTask
from keelbill.storage.published import Engine

MAX_MARGIN: Final = 2000
MAX_FINISHED_PIXELS: Final = 2**24
_ID: Final = "^[0-9a-f]{32}$"

router = APIRouter(prefix="/api/edits", tags=["Jobs"], route_class=JsonRoute, responses=ERRORS)


class NewEdit(Body):
    """A change of a part of a picture."""

    kind: Literal["inpaint", "erase", "outpaint"] = Field(
        description="Paint anew what the mask shows, take it away, or add a margin."
    )
    image_id: str = Field(pattern=_ID, description="A picture of the own gallery, or an upload.")
    mask_id: str | None = Field(
        default=None, pattern=_ID, description="White where the picture changes; else its transparent part does."
    )
    prompt: str = Field(default="", max_length=10_000, description="What is to be seen; required to inpaint.")
    negative_prompt: str = Field(default="", max_length=10_000, description="What to avoid.")
    model: str = Field(default="sd3.5-large", min_length=1, max_length=128)
    strength: float = Field(default=1.0, ge=0, le=1, description="How much of the masked part is painted anew.")
    grow_mask: int = Field(default=0, ge=0, le=100, description="Pixels by which the mask is widened, softly.")
    left: int = Field(default=0, ge=0, le=MAX_MARGIN, description="Pixels to add, to outpaint.")
    right: int = Field(default=0, ge=0, le=MAX_MARGIN)
    up: int = Field(default=0, ge=0, le=MAX_MARGIN)
    down: int = Field(default=0, ge=0, le=MAX_MARGIN)
    creativity: float = Field(default=0.5, ge=0, le=1, description="How freely a margin is painted.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Decides the noise; 0 picks one at random.")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    cfg_scale: float | None = Field(default=None, ge=0, le=30, description="How closely the prompt is followed.")
    style_preset: str | None = Field(default=None, json_schema_extra={"enum": [*PRESETS, None]})
    output_format: Literal["png", "jpeg", "webp"] = "png"
    previews: bool = Field(default=False, description="Whether progress carries small pictures.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.style_preset is not None and self.style_preset not in PRESETS:
            raise ValueError(f"style_preset must be one of {', '.join(PRESETS)}")
        has_margin = any((self.left, self.right, self.up, self.down))
        if has_margin != (self.kind == "outpaint"):
            raise ValueError("left, right, up and down belong to outpaint, which needs one of them above 0")
        if self.kind == "outpaint" and self.mask_id is not None:
            raise ValueError("mask_id is not for outpaint, which paints the margin")
        return self


@router.post("", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def edit_picture(
    request: Request,
    response: Response,
    caller: CanGenerate,
    body: NewEdit,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> SubmittedJob:
    """Ask for a changed picture of the same size, or with a margin. What the mask keeps stays as it is.

    More than 50 steps cost more, in proportion.
    """
    platform, visit = platform_of(request), visit_of(request)
    prompt = clean_text("prompt", body.prompt, min_chars=1 if body.kind == "inpaint" else 0)
    negative = clean_text("negative_prompt", body.negative_prompt)
    engine = await engine_of(request, body.model)
    source = await find_source(platform, caller, "image_id", body.image_id)
    size = _size(body, source)
    mask = await find_source(platform, caller, "mask_id", body.mask_id) if body.mask_id else None
    if mask is None and body.kind != "outpaint" and not source.has_alpha:
        raise InvalidRequest("mask_id: required, because the picture has no transparent part")
    if prompt:
        await platform.moderation.check_prompt(caller, prompt, request_id=visit.request_id)
    price = _price(platform, body)
    asked = ImageRequest(
        service=body.kind,
        task=_task(platform, body, (prompt, negative), engine, source, mask, size),
        front="native",
        route="/api/edits",
        requested_model=body.model,
        request_id=visit.request_id,
        price=price,
        deadline_s=platform.settings.request_deadline_s,
        is_async=True,
    )
    ticket = await platform.jobs.submit(caller, asked, idempotency(idempotency_key, "/api/edits", body))
    visit.job_id = ticket.job_id
    visit.credits_micro = 0 if ticket.replayed else price
    if ticket.replayed:
        response.headers["idempotent-replayed"] = "true"
    response.headers["location"] = f"/api/jobs/{ticket.job_id}"
    return SubmittedJob(id=ticket.job_id)


def _size(body: NewEdit, source: Source) -> Size:
    if source.size.width * source.size.height > MOST_PIXELS:
        raise InvalidRequest(f"image_id: the picture has {source.size} pixels; at most {MOST_PIXELS:,} can be changed")
    size = Size(source.size.width + body.left + body.right, source.size.height + body.up + body.down)
    if size.width * size.height > MAX_FINISHED_PIXELS:
        raise InvalidRequest(f"left: the finished picture would have {size} pixels; at most {MAX_FINISHED_PIXELS:,}")
    return size


def _task(
    platform: Platform,
    body: NewEdit,
    texts: tuple[str, str],
    engine: Engine,
    source: Source,
    mask: Source | None,
    size: Size,
) -> ImageTask:
    prompt, negative = texts
    styled, avoided = apply_preset(prompt, negative, body.style_preset) if prompt else (prompt, negative)
    settings = platform.settings
    return ImageTask(
        kind=body.kind,
        model=engine.model,
        prompt=styled,
        negative_prompt=avoided,
        recipe_prompt=prompt,
        width=size.width,
        height=size.height,
        seed=body.seed or random_seed(),
        steps=body.steps if body.steps is not None else engine.steps,
        cfg=body.cfg_scale if body.cfg_scale is not None else engine.cfg,
        image=source.ref,
        mask=mask.ref if mask else "",
        strength=body.strength,
        grow_mask=body.grow_mask,
        left=body.left,
        right=body.right,
        up=body.up,
        down=body.down,
        creativity=body.creativity,
        output_format=body.output_format,
        previews=body.previews,
        filter_above=settings.filter_above if settings.moderation == "on" else UNFILTERED,
    )


def _price(platform: Platform, body: NewEdit) -> Micro:
    steps = max(body.steps or 0, STEPS_INCLUDED)
    return Micro(-(-platform.ledger.prices.price(body.kind) * steps // STEPS_INCLUDED))
